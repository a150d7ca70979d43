/** One agent for a whole pipeline: a pod from `agent-pod.yaml`, or one that is there already. */
def call(Map wanted, Map usual, Closure body) {
    String platform = pipelinePlatform()
    Map agent = usual + (platform ? readYaml(text: platform).jenkins?.agent ?: [:] : [:])
    String label = wanted.agent ?: agent.label
    if (label) { return node(label == 'any' ? '' : label) { pipelineWorkspace(platform, body) } }
    String pod = libraryResource(agent.docker ? 'agent-pod-docker.yaml' : 'agent-pod.yaml')
    List names = agent.keySet().toList()
    for (int i = 0; i < names.size(); i++) { pod = pod.replace('{{' + names[i] + '}}', agent[names[i]].toString()) }
    Map options = [yaml: pod] + (agent.cloud ? [cloud: agent.cloud] : [:])
    podTemplate(options + (agent.namespace ? [namespace: agent.namespace] : [:])) {
        node(POD_LABEL) { container('tools') { pipelineWorkspace(platform, body) } }
    }
}
