/** Asks for the approval that an environment needs, with the digest in the question; who approved, or null. */
def call(Map parameters) {
    Map made = pipelinePlan(parameters)
    Map planned = made.stages.find { it.environment && it.environment == parameters.environment }
    Map asked = planned?.approval
    if (!asked) { return null }
    String question = pipelineRecord(made).questions[planned.name] ?: asked.question
    return timeout(time: asked.timeout, unit: 'SECONDS') {
        input(id: asked.id, message: question, ok: asked.ok, submitter: asked.submitter, submitterParameter: 'approver')
    }
}
