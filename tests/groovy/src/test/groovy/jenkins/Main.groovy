package jenkins

import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic

/** Runs one build that a JSON file describes, and writes what came of it to another: for tests in other languages. */
class Main {
    static void main(String[] words) {
        Map asked = (Map) new JsonSlurperClassic().parse(new File(words[0]))
        String jenkinsfile = asked.remove('jenkinsfile')
        Build build = new Build()
        asked.each { String name, Object value ->
            build[name] = name in ['library', 'home'] ? new File(value as String) : name == 'scm' ? new Scm(value as Map) : value
        }
        build.run(jenkinsfile)
        Map told = ['result', 'displayName', 'description', 'stages', 'shells', 'questions', 'podSpecs', 'junit', 'coverage',
                    'trace', 'checkpoints'].collectEntries { [it, build[it]] }
        told.error = build.error?.message
        told.unmasked = build.unmasked.toString()
        new File(words[1]).text = JsonOutput.toJson(told)
        System.exit(0)
    }
}
