// Generated from the declaration by `make generate`.
/** The whole pipeline of a project of kind `chart`. */
def call(Map parameters = [:]) {
    pipelineOf(parameters, 'chart')
}
