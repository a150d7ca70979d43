/** The bindings for `withCredentials` of what a step declares in steps.json. */
def call(List credentials) {
    List bindings = []
    for (int i = 0; i < credentials.size(); i++) {
        Map each = credentials[i]
        List names = each.variables
        if (each.type == 'username-password') {
            bindings << usernamePassword(credentialsId: each.id, usernameVariable: names[0], passwordVariable: names[1])
        } else {
            Map binding = [credentialsId: each.id, variable: names[0]]
            bindings << (each.type == 'file' ? file(binding) : string(binding))
        }
    }
    return bindings
}
