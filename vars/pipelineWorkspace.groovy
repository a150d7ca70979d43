/** The sources, and the platform file beside them if a library brings one. */
def call(String platform, Closure body) {
    stage('Checkout') { checkout(scm) }
    if (!platform) { return body() }
    String file = "${pwd(tmp: true)}/platform.yml"
    writeFile(file: file, text: platform)
    withEnv(["PIPELINE_TOOLS_PLATFORM=${file}"]) { body() }
}
