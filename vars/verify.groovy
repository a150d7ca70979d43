/** The step `verify`: prove from outside that the release runs the built digest and answers rightly. */
def call(Map parameters = [:]) {
    pipelineStep(parameters, 'verify')
}
