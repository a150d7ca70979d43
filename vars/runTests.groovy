/** The step `test`: run the project's tests and measure their coverage. */
def call(Map parameters = [:]) {
    pipelineStep(parameters, 'test')
}
