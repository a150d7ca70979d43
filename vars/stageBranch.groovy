/** The steps of one branch, one after the other; after the approval of their stage if it needed one. */
def call(List steps, String project, boolean approved) {
    for (int i = 0; i < steps.size(); i++) {
        Map each = steps[i]
        pipelineStep(each.step, project: project, environment: each.environment, approved: approved)
    }
}
