/** The step `image`: build the container image and push it to Artifactory. */
def call(Map parameters = [:]) {
    pipelineStep(parameters, 'image')
}
