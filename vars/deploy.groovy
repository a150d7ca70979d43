// Generated from the declaration by `make generate`.
/** The step `deploy`: install or upgrade the release with helm and wait until it is ready. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'deploy') }
}
