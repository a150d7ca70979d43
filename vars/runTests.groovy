// Generated from the declaration by `make generate`.
/** The step `test`: run the project's tests and measure their coverage. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'test') }
}
