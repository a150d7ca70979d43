// Generated from the declaration by `make generate`.
/** The step `export`: build the model's wheel under the version that was promoted. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'export') }
}
