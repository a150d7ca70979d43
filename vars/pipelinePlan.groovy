import groovy.transform.Field

@Field Map plans = [:]

/** What `pipeline-tools plan --json` says of a project: asked once in a build, or anew. */
def call(Map wanted, boolean anew = false) {
    String project = wanted.project ?: '.'
    if (anew || !plans[project]) { plans[project] = pipelineAsk(project, wanted) }
    return plans[project]
}
