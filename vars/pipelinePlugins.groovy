/** Says which plugin brings a step of Jenkins that is missing. */
def call(Closure body) {
    Map plugins = [archiveArtifacts: 'core', container: 'kubernetes', junit: 'junit', lock: 'lockable-resources',
                   milestone: 'pipeline-milestone-step', podTemplate: 'kubernetes', publishHTML: 'htmlpublisher',
                   readJSON: 'pipeline-utility-steps', readYaml: 'pipeline-utility-steps', recordCoverage: 'coverage',
                   sshUserPrivateKey: 'ssh-credentials', withCredentials: 'credentials-binding']
    try {
        return body()
    } catch (NoSuchMethodError missing) {
        String step = plugins.keySet().find { name -> missing.message.contains("'" + name + "'") }
        error(step ? "Jenkins has no step '${step}': install the plugin ${plugins[step]}." : missing.message)
    }
}
