/** The steps of one branch of a stage, one after the other, as long as they pass. */
def call(List steps, String project, String approver) {
    boolean passed = true
    for (int i = 0; i < steps.size() && passed; i++) {
        Map each = steps[i]
        passed = pipelineStep(each.step, project: project, environment: each.environment, approver: approver)
    }
}
