/** The whole pipeline of a project: its parameters, its agent, and the stages of the plan on it. */
def call(Map given, String kind) {
    pipelinePlugins {
        Map library = pipelineLibrary()
        pipelineKnown(given, library.parameters.pipeline)
        Map wanted = pipelineParameters(given) + [kind: kind]
        retry(count: wanted.retries, conditions: [agent(), nonresumable()]) {
            pipelineAgent(wanted, library.agent) { pipelineStages(wanted) }
        }
    }
}
