import hudson.AbortException

/** The platform file that a library of your own brings as `resources/platform.yml`; empty if none does. */
def call() {
    try {
        return libraryResource('platform.yml')
    } catch (AbortException none) {
        return ''
    }
}
