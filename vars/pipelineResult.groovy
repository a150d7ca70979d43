/** Lets the build end as the plan says that a failed step ends it: unstable, and no further, or with an error. */
def call(Map ended) {
    if (ended.result == 'SUCCESS') { return }
    if (ended.result == 'UNSTABLE') {
        unstable(ended.message)
    } else {
        currentBuild.result = ended.result
        error(ended.message)
    }
}
