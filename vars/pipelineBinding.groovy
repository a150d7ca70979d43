/** One binding of `withCredentials`, by the credential's type. */
def call(Map each) {
    List names = each.variables
    switch (each.type) {
        case 'username-password':
            return usernamePassword(credentialsId: each.id, usernameVariable: names[0], passwordVariable: names[1])
        case 'ssh-key':
            return sshUserPrivateKey(credentialsId: each.id, keyFileVariable: names[0])
        case 'file':
            return file(credentialsId: each.id, variable: names[0])
        default:
            return string(credentialsId: each.id, variable: names[0])
    }
}
