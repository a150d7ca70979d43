/** One stage of the plan: its milestone, its approval, its lock, and its branches side by side. */
def call(Map planned, String project) {
    stage(planned.name) {
        if (planned.milestone) { milestone(ordinal: planned.milestone) }
        String approver = pipelineApproval(project: project, environment: planned.environment)
        Map branches = [:]
        for (int i = 0; i < planned.branches.size(); i++) {
            List steps = planned.branches[i]
            branches[steps[0].id] = { pipelineBranch(steps, project, approver) }
        }
        Closure work = { branches.size() == 1 ? branches.values().first().call() : parallel(branches) }
        if (planned.lock) { lock(planned.lock, work) } else { work() }
    }
}
