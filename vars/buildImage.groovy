// Generated from the declaration by `make generate`.
/** The step `image`: build the container image and push it to Artifactory. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'image') }
}
