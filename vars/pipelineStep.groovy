/** Runs one step with its credentials bound around it, and publishes its reports whatever its end was. */
def call(Map parameters = [:], String name) {
    Map declared = readJSON(text: libraryResource('steps.json')).steps[name]
    String project = parameters.project ?: '.'
    List words = ['step', name, '--project', project, '--log-format', 'plain']
    // the steps of a build are one run, in one folder; a branch's name may have brought characters that no folder has
    if (env.BUILD_TAG) { words += ['--run', env.BUILD_TAG.replaceAll('[^A-Za-z0-9._-]', '-')] }
    if (parameters.environment) { words += ['--environment', parameters.environment] }
    if (parameters.approved) { words += ['--approve'] }
    try {
        withCredentials(stepCredentials(declared.credentials)) { pipelineTool(words) }
    } finally {
        stepReports(project, declared.reports)
    }
}
