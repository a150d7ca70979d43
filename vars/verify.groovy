// Generated from the declaration by `make generate`.
/** The step `verify`: prove from outside that the release runs the built digest and answers rightly. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'verify') }
}
