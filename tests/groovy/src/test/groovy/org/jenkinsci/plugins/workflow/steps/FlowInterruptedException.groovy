package org.jenkinsci.plugins.workflow.steps

/** As in Jenkins: a build, or a part of it, is stopped from outside; `causes` say why. */
class FlowInterruptedException extends InterruptedException {
    final String result
    final List<String> causes

    FlowInterruptedException(String result, String... causes) {
        super(causes.join(', '))
        this.result = result
        this.causes = causes.toList()
    }
}
