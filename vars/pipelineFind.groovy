/** The step in the plan; null, and a line that says why, if this build may not run it. */
def call(Map made, String name, String environment) {
    List steps = made.stages*.branches.flatten()
    Map found = steps.find { it.step == name && (!environment || !it.environment || it.environment == environment) }
    Map skipped = made.skipped.find { it.step == name }
    if (!found && !skipped) {
        error("The plan of ${made.project} has no step ${name}${environment ? ' for ' + environment : ''}: " +
            "it has ${steps*.id.join(', ')}.")
    }
    if (!found) { echo("${skipped.id} is left out: ${skipped.reason}.") }
    return found
}
