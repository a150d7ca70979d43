/** The parameters that the job gets, and what they and the Jenkinsfile say together: the job's win. */
def call(Map given) {
    properties([disableConcurrentBuilds(), parameters([
        string(name: 'environment', defaultValue: '', description: 'Leave out the steps of other environments.'),
        string(name: 'until', defaultValue: '', description: 'Stop after this step.'),
        booleanParam(name: 'force', defaultValue: false, description: 'Run also what has not changed.'),
        string(name: 'COMMIT', defaultValue: '', description: 'Who asks for a build of a commit: one build each.'),
    ])])
    Map asked = [environment: params.environment ?: given.environment, until: params.until ?: given.until,
                 force: params.force ?: given.force ?: false]
    return [project: '.', retries: 2] + given + asked
}
