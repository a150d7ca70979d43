// Generated from the declaration by `make generate`.
/** The whole pipeline of a project of kind `model`. */
def call(Map parameters = [:]) {
    pipelineOf(parameters, 'model')
}
