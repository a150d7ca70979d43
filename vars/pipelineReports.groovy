/** Publishes what a step left where users of Jenkins look: tests, coverage, pages, files. */
def call(Map reports) {
    if (reports.junit) { junit(testResults: reports.junit, skipMarkingBuildUnstable: true) }
    if (reports.coverage) { recordCoverage(tools: [[parser: 'COBERTURA', pattern: reports.coverage]]) }
    List pages = reports.html ?: []
    for (int i = 0; i < pages.size(); i++) {
        publishHTML(target: [reportName: pages[i].name, reportDir: pages[i].dir, reportFiles: pages[i].file,
                             includes: pages[i].file, keepAll: true, alwaysLinkToLastBuild: false, allowMissing: true])
    }
    if (reports.archive) { archiveArtifacts(artifacts: reports.archive, allowEmptyArchive: true) }
}
