// Generated from the declaration by `make generate`.
/** The whole pipeline of a project of kind `data`. */
def call(Map parameters = [:]) {
    pipelineOf(parameters, 'data')
}
