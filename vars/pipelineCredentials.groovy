/** Binds credentials around one step only. */
def call(List wanted, Closure body) {
    List bindings = []
    for (int i = 0; i < wanted.size(); i++) { bindings << pipelineBinding(wanted[i]) }
    if (!bindings) { return body() }
    try {
        return withCredentials(bindings) { body() }
    } catch (Exception refused) {
        if (!refused.toString().contains('Could not find credentials')) { throw refused }
        error("${refused.message}: create it in Jenkins, or name the one that there is in the platform file, " +
            'under jenkins.credentials.')
    }
}
