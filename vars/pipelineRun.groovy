/** Runs a step with its credentials bound around it; if it is cut off, what it left is published all the same. */
def call(Map made, Map planned, List words) {
    try {
        return timeout(time: planned.timeout, unit: 'SECONDS') {
            pipelineCredentials(planned.credentials) { pipelineTool(words) }
        }
    } catch (Exception cut) {
        pipelineRescue { pipelineReports(pipelineRecord(made).steps[planned.id]?.reports ?: [:]) }
        throw cut
    }
}
