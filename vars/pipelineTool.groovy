/** Runs pipeline-tools: the one place with `sh`. Words are quoted one by one; a secret is never among them. */
def call(Map options = [:], List words) {
    // exec: an abort then reaches the tool itself, and the build waits until it has cleaned up
    String command = 'exec pipeline-tools'
    for (int i = 0; i < words.size(); i++) { command += " '" + words[i].toString().replace("'", "'\\''") + "'" }
    String label = "pipeline-tools ${words[0]}"
    if (options.stdout) { return sh(script: command, label: label, returnStdout: true).trim() }
    int code = sh(script: command, label: label, returnStatus: true)
    if (code == 127) {
        error("There is no pipeline-tools on the agent ${env.NODE_NAME}: use the image of resources/agent, or " +
            "install pipeline-tools==${pipelineLibrary().library} there.")
    }
    return code
}
