// Generated from the declaration by `make generate`.
/** The step `scan`: analyse the code with SonarQube in a pod and ask its quality gate. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'scan') }
}
