// Generated from the declaration by `make generate`.
/** The whole pipeline of a project of kind `service`. */
def call(Map parameters = [:]) {
    pipelineOf(parameters, 'service')
}
