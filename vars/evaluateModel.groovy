// Generated from the declaration by `make generate`.
/** The step `evaluate`: measure the model against the one in use and keep the report. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'evaluate') }
}
