// Generated from the declaration by `make generate`.
/** The step `chart`: lint, package and publish the helm chart. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'chart') }
}
