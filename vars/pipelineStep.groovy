/** One step of the plan: it is run, what it left is published, and it ends as the plan says; whether it passed. */
def call(Map parameters = [:], String name) {
    pipelineKnown(parameters, pipelineLibrary().parameters.step)
    Map made = pipelinePlan(parameters)
    Map planned = pipelineFind(made, name, parameters.environment)
    if (!planned) { return true }
    List words = planned.command + (parameters.force ? ['--force'] : [])
    words += parameters.approver ? ['--approve', '--approved-by', parameters.approver] : []
    int code = pipelineRun(made, planned, words)
    Map none = [result: 'FAILURE', message: "${planned.id}: pipeline-tools ended with ${code}; its output says why."]
    Map ended = pipelineRecord(made).steps[planned.id] ?: none
    try { pipelineReports(ended.reports ?: [:]) } finally { pipelineResult(ended) }
    return ended.result == 'SUCCESS'
}
