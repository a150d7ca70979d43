/** The whole pipeline: the stages of `pipeline-tools plan`, on an agent that has pipeline-tools. */
def call(Map parameters = [:]) {
    String project = parameters.project ?: '.'
    node(parameters.agent ?: '') {
        stage('Checkout') { checkout scm }
        List words = ['plan', '--json', '--project', project]
        List stages = readJSON(text: pipelineTool(words, stdout: true)).stages
        for (int i = 0; i < stages.size(); i++) {
            pipelineStage(stages[i], project)
        }
    }
}
