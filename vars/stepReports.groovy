/** Publishes what the latest run left: JUnit results if the step has them, the HTML report, the reason of a failure. */
def call(String project, Map reports) {
    String latest = "${project}/.pipeline/latest"
    if (reports.junit) {
        junit(testResults: "${latest}/steps/*/${reports.junit}", allowEmptyResults: true)
    }
    archiveArtifacts(artifacts: "${latest}/report.html, ${latest}/error.json", allowEmptyArchive: true)
    if (fileExists("${latest}/error.json")) {
        Map error = readJSON(file: "${latest}/error.json")
        currentBuild.description = "${error.step}: ${error.message}"
    }
}
