/** Runs pipeline-tools: the one place with `sh`. Words are quoted one by one; a secret is never among them. */
def call(Map options = [:], List words) {
    String command = 'pipeline-tools'
    for (int i = 0; i < words.size(); i++) {
        command += " '" + words[i].toString().replace("'", "'\\''") + "'"
    }
    return sh(script: command, label: "pipeline-tools ${words[0]}", returnStdout: options.stdout ?: false)
}
