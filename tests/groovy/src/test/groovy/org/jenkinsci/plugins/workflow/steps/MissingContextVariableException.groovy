package org.jenkinsci.plugins.workflow.steps

/** As in Jenkins: a step needs an agent's workspace, and there is none, or it is gone. */
class MissingContextVariableException extends Exception {
    MissingContextVariableException(String step) {
        super('Required context class hudson.FilePath is missing\nPerhaps you forgot to surround the ' +
            "${step} step with a step that provides this, such as: node")
    }
}
