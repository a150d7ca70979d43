/** What the library knows without an agent: its version, its parameters, the steps, the plugins of Jenkins' steps. */
def call() {
    return readJSON(text: libraryResource('steps.json'), returnPojo: true)
}
