// Generated from the declaration by `make generate`.
/** The step `publish`: publish the wheel in Artifactory, with its lineage as properties. */
def call(Map parameters = [:]) {
    pipelinePlugins { pipelineStep(parameters, 'publish') }
}
