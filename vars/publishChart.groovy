/** The step `chart`: lint, package and publish the helm chart. */
def call(Map parameters = [:]) {
    pipelineStep(parameters, 'chart')
}
