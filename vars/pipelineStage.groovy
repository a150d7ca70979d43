/** One stage of the plan: its approval, its lock, and its branches side by side. */
def call(Map planned, String project) {
    stage(planned.name) {
        if (planned.approval) { input(message: "Deploy to ${planned.name}?", ok: 'Deploy') }
        Map branches = [:]
        for (int i = 0; i < planned.branches.size(); i++) {
            List steps = planned.branches[i]
            branches[steps[0].id] = { stageBranch(steps, project, planned.approval) }
        }
        Closure run = { branches.size() == 1 ? branches.values().first().call() : parallel(branches) }
        if (planned.lock) { lock(planned.lock, run) } else { run() }
    }
}
