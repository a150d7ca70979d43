/** Refuses parameters that there are not, before anything is done. */
def call(Map given, List known) {
    List unknown = given.keySet().toList() - known
    if (unknown) {
        String name = unknown[0]
        // the one with which it shares most pairs of letters
        String like = known.max { other ->
            (0..<name.length() - 1).count { other.contains(name.substring(it, it + 2)) }
        }
        error("There is no parameter '${name}'. Did you mean '${like}'? There are: ${known.join(', ')}.")
    }
}
