// Generated from the declaration by `make generate`.
/** The step `promote`: move the tested commit to the branch that counts, with a tag of its version. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'promote') }
}
