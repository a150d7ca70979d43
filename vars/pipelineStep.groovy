/** Runs one step with its credentials bound around it, and publishes its reports whatever its end was. */
def call(Map parameters = [:], String name) {
    Map declared = readJSON(text: libraryResource('steps.json')).steps[name]
    String project = parameters.project ?: '.'
    List words = ['step', name, '--project', project, '--log-format', 'plain']
    if (parameters.environment) { words += ['--environment', parameters.environment] }
    if (parameters.approved) { words += ['--approve'] }
    try {
        withCredentials(stepCredentials(declared.credentials)) { pipelineTool(words) }
    } finally {
        stepReports(project, declared.reports)
    }
}
