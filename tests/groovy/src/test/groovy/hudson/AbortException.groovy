package hudson

/** As in Jenkins: an error whose message says it all. */
class AbortException extends IOException {
    AbortException(String message) { super(message) }
}
