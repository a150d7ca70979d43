/** Does what is still possible after a failure, such as publishing; the failure itself is what counts. */
def call(Closure body) {
    try {
        body()
    } catch (Exception lost) {
        echo("Not everything could be published: ${lost.message}")
    }
}
