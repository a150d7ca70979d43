/** The stages of the plan, one after the other, as long as nothing is wrong. */
def call(Map wanted) {
    Map made = pipelinePlan(wanted, true)
    try {
        for (int i = 0; i < made.stages.size() && currentBuild.currentResult == 'SUCCESS'; i++) {
            pipelineStage(made.stages[i], wanted.project)
        }
    } finally {
        pipelineRescue { pipelineReports(pipelineRecord(made).reports) }
    }
}
