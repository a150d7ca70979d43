// Generated from the declaration by `make generate`.
/** The step `pin`: propose the published version to the service: a tested branch and a pull request. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'pin') }
}
