/** What the tool has written down of this build; its name and description are shown at once. */
def call(Map made) {
    String file = "${made.run}/build.json"
    Map known = fileExists(file) ? readJSON(file: file, returnPojo: true) : [:]
    if (known.name) { currentBuild.displayName = known.name }
    if (known.description) { currentBuild.description = known.description }
    return [reports: [:], questions: [:], steps: [:]] + known
}
