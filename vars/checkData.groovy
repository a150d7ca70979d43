// Generated from the declaration by `make generate`.
/** The step `check`: run the project's checks of its data and keep their report. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'check') }
}
