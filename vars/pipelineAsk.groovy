/** Has the plan made on the agent, by a package of the library's own version. */
def call(String project, Map wanted) {
    String file = "${pwd(tmp: true)}/plan.json"
    List words = ['plan', '--json', '--output', file, '--project', project] + (wanted.force ? ['--force'] : [])
    List named = ['kind', 'environment', 'until'].findAll { wanted[it] }
    int code = pipelineTool(words + named.collectMany { ["--${it}", wanted[it]] })
    Map made = code == 0 ? readJSON(file: file, returnPojo: true) : [library: pipelineTool(['--version'], stdout: true)]
    String ours = pipelineLibrary().library
    if (!made.library.toString().endsWith(ours)) {
        error("The library is ${ours}, but the agent ${env.NODE_NAME} has ${made.library}: install pipeline-tools==" +
            "${ours} there, or load the library's version that fits: @Library('pipeline-tools@VERSION').")
    }
    return code == 0 ? made : error("pipeline-tools made no plan of ${project}: its lines above say why.")
}
