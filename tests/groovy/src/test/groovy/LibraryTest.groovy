import static com.lesfurets.jenkins.unit.global.lib.LibraryConfiguration.library
import static com.lesfurets.jenkins.unit.global.lib.LocalSource.localSource
import static org.junit.Assert.assertEquals
import static org.junit.Assert.assertFalse
import static org.junit.Assert.assertTrue
import static org.junit.Assert.fail

import com.lesfurets.jenkins.unit.BasePipelineTest
import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic
import java.nio.file.Files
import org.junit.Before
import org.junit.Test
import org.yaml.snakeyaml.Yaml

/** Each step of the library as plain Groovy, with simulated steps of Jenkins; `HarnessTest` runs them as Jenkins does. */
class LibraryTest extends BasePipelineTest {

    static final File CHECKOUT = new File('../..').canonicalFile
    static final Map LIBRARY = new JsonSlurperClassic().parse(new File(CHECKOUT, 'resources/steps.json'))
    static final List<Map> BINDINGS = [
        [id: 'a', type: 'username-password', variables: ['U', 'P']], [id: 'b', type: 'secret-text', variables: ['T']],
        [id: 'c', type: 'file', variables: ['F']], [id: 'd', type: 'ssh-key', variables: ['K']],
    ]

    List<String> commands = []
    List<String> trace = []
    Map<String, Object> files = [:]
    Map<String, Integer> exits = [:]

    @Override
    @Before
    void setUp() throws Exception {
        super.setUp()
        // JenkinsPipelineUnit looks a library up as NAME@VERSION
        File link = new File('target/libraries/pipeline-tools@here/vars')
        link.parentFile.mkdirs()
        if (!Files.isSymbolicLink(link.toPath())) {
            Files.createSymbolicLink(link.toPath(), new File(CHECKOUT, 'vars').toPath())
        }
        helper.registerSharedLibrary(library().name('pipeline-tools').defaultVersion('here').allowOverride(true)
            .implicit(true).targetPath('target/libraries').retriever(localSource('target/libraries')).build())
        binding.setVariable('scm', [:])
        binding.setVariable('params', [:])
        binding.setVariable('POD_LABEL', 'a-pod')
        binding.setVariable('currentBuild', [currentResult: 'SUCCESS'])
        binding.setVariable('env', [NODE_NAME: 'linux'])
        ['checkout', 'properties', 'archiveArtifacts', 'recordCoverage', 'milestone'].each { String name ->
            helper.registerAllowedMethod(name, [Map], { Map call -> trace << "${name} ${call}".toString() })
        }
        ['string', 'file', 'usernamePassword', 'sshUserPrivateKey', 'booleanParam'].each { String type ->
            helper.registerAllowedMethod(type, [Map], { Map call -> [(type): call] })
        }
        ['agent', 'nonresumable', 'disableConcurrentBuilds'].each { String name ->
            helper.registerAllowedMethod(name, [], { [(name): true] })
        }
        helper.registerAllowedMethod('properties', [List], { List wanted -> trace << 'properties' })
        helper.registerAllowedMethod('parameters', [List], { List wanted -> [parameters: wanted] })
        helper.registerAllowedMethod('libraryResource', [String], { String name ->
            File file = new File(CHECKOUT, "resources/${name}")
            if (!file.file) { throw new hudson.AbortException("No such library resource ${name}") }
            file.text
        })
        helper.registerAllowedMethod('readJSON', [Map], { Map from ->
            new JsonSlurperClassic().parseText(from.text ?: JsonOutput.toJson(files[from.file.toString()]))
        })
        helper.registerAllowedMethod('readYaml', [Map], { Map from -> new Yaml().load(from.text) })
        helper.registerAllowedMethod('fileExists', [String], { String path -> files.containsKey(path) })
        helper.registerAllowedMethod('pwd', [Map], { Map call -> '/w@tmp' })
        helper.registerAllowedMethod('sh', [Map], { Map call -> shell(call) })
        helper.registerAllowedMethod('error', [String], { String message -> throw new hudson.AbortException(message) })
        helper.registerAllowedMethod('junit', [Map], { Map call -> trace << "junit ${call.testResults}".toString() })
        helper.registerAllowedMethod('publishHTML', [Map], { Map call -> trace << "html ${call.target.reportName}".toString() })
        helper.registerAllowedMethod('unstable', [String], { String message -> trace << "unstable ${message}".toString() })
        helper.registerAllowedMethod('input', [Map], { Map call ->
            trace << "input ${call.message}".toString()
            'ana'
        })
        ['retry', 'timeout', 'podTemplate'].each { String name ->
            helper.registerAllowedMethod(name, [Map, Closure], { Map call, Closure body ->
                trace << name
                body()
            })
        }
        ['lock', 'node', 'container'].each { String name ->
            helper.registerAllowedMethod(name, [String, Closure], { String what, Closure body ->
                trace << "${name} ${what}".toString()
                body()
            })
        }
        helper.registerAllowedMethod('withCredentials', [List, Closure], { List bound, Closure body ->
            trace << "bind ${bound.collect { it.values().first().credentialsId }}".toString()
            Object made = body()
            trace << 'unbind'
            made
        })
    }

    Object shell(Map call) {
        String command = call.script
        commands << command
        trace << command
        assert call.returnStatus || call.returnStdout
        return call.returnStdout ? 'pipeline-tools, version 0.0.9' : (exits.find { command.contains(it.key) }?.value ?: 0)
    }

    static Map step(String id, Map more = [:]) {
        return [id: id, step: id.split('-')[0], environment: id.contains('-') ? id.split('-')[1] : null, timeout: 60,
                credentials: [], command: ['step', id]] + more
    }

    /** A plan with these stages, and the record of a build in which all is well. */
    void planned(List<Map> stages) {
        Map usual = [environment: null, lock: null, milestone: null, approval: null]
        files['/w@tmp/plan.json'] = [library: LIBRARY.library, project: 'x', run: 'r', skipped: [],
                                     stages: stages.collect { usual + it }]
        List ids = stages*.branches.flatten()*.id
        files['r/build.json'] = [name: '#1', description: 'd', questions: [PROD: 'Deploy sha256:d to PROD?'], reports: [:],
                                 steps: ids.collectEntries { [it, [result: 'SUCCESS', message: 'm', reports: [:]]] }]
    }

    void run(String body) {
        File script = File.createTempFile('pipeline', '.groovy')
        script.deleteOnExit()
        script.text = body
        runScript(script.path)
    }

    void refused(String body, String message) {
        try {
            run(body)
            fail('nothing was refused')
        } catch (Exception error) {
            assertTrue("${error}", error.toString().contains(message))
        }
    }

    List<String> ran() { return commands.findAll { it.contains("'step'") }.collect { (it =~ /'step' '([\w-]+)'/)[0][1] } }

    @Test
    void everyStepIsThinAndDocumentedAndOnlyOneCallsTheShell() {
        List<File> sources = new File(CHECKOUT, 'vars').listFiles().findAll { it.name.endsWith('.groovy') }
        sources.each { File file ->
            assertTrue("${file.name} is longer than 15 lines", file.readLines().size() <= 15)
            assertTrue("${file.name} has no page", new File(file.path.replace('.groovy', '.txt')).exists())
            boolean shells = file.text =~ /\bsh\s*\(/
            assertEquals("only pipelineTool calls sh: ${file.name}", file.name == 'pipelineTool.groovy', shells)
            assertFalse("no step can be called in @NonCPS: ${file.name}", file.text.contains('NonCPS'))
        }
        assertTrue(sources.sum { it.readLines().size() } < 600)
        LIBRARY.steps.each { name, about -> assertTrue(name, new File(CHECKOUT, "vars/${about.jenkins}.groovy").exists()) }
    }

    @Test
    void everyStepOfThePackageRunsThroughItsVar() {
        LIBRARY.steps.each { name, about ->
            commands.clear()
            planned([[name: 'S', branches: [[step("${name}-test")]]]])
            run("${about.jenkins}(project: '${name}', environment: 'test', force: true)")
            assertEquals(["exec pipeline-tools 'step' '${name}-test' '--force'".toString()], commands.drop(1))
        }
    }

    @Test
    void wordsAreQuotedSoThatTheShellReadsNoneOfThem() {
        run('''pipelineTool(['step', "it's; rm -rf x"])''')
        assertEquals(["exec pipeline-tools 'step' 'it'\\''s; rm -rf x'"], commands)
    }

    @Test
    void eachTypeOfCredentialIsBoundAroundItsStepOnly() {
        planned([[name: 'S', branches: [[step('scan', [credentials: BINDINGS])]]]])
        run('scanCode()')
        String command = "exec pipeline-tools 'step' 'scan'"
        int begin = trace.indexOf('bind [a, b, c, d]')
        assertEquals(['bind [a, b, c, d]', command, 'unbind'], trace.subList(begin, begin + 3))
    }

    @Test
    void aPipelineRendersThePlan() {
        Map approval = [id: 'i', question: 'q', ok: 'Deploy', submitter: '', timeout: 60]
        planned([
            [name: 'Test', branches: [[step('test')]]],
            [name: 'Build', branches: [[step('scan')], [step('image')]]],
            [name: 'PROD', environment: 'prod', lock: 'x-prod', milestone: 3, approval: approval,
             branches: [[step('deploy-prod'), step('verify-prod')]]],
        ])
        run("servicePipeline(project: 'service', retries: 3)")
        assertTrue(commands[0], commands[0].contains("'--project' 'service' '--kind' 'service'"))
        assertEquals(['test', 'scan', 'image', 'deploy-prod', 'verify-prod'], ran())
        assertTrue(commands.last().contains("'--approve' '--approved-by' 'ana'"))
        assertFalse(commands[1].contains('approve'))
        List<String> order = ['properties', 'retry', 'podTemplate', 'node a-pod', 'container tools', 'milestone [ordinal:3]',
                              'input Deploy sha256:d to PROD?', 'lock x-prod', commands.last()]
        List<Integer> places = order.collect { trace.indexOf(it) }
        assertEquals("${trace}", places.sort(false), places)
        assertTrue(places[0] >= 0)
        assertEquals('#1', binding.getVariable('currentBuild').displayName)
    }

    @Test
    void aKindHasItsPipeline() {
        ['data', 'model', 'chart', 'library'].each { String kind ->
            planned([[name: 'Test', branches: [[step('test')]]]])
            run("${kind}Pipeline(agent: 'any', until: 'test')")
            assertTrue(commands.any { it.contains("'--kind' '${kind}' '--until' 'test'") })
        }
    }

    @Test
    void aFailureEndsItWithItsReportsPublished() {
        planned([[name: 'Test', branches: [[step('test')]]], [name: 'Build', branches: [[step('scan')]]]])
        Map reports = [junit: 'j.xml', coverage: 'c.xml', html: [[dir: 'd', file: 'f', name: 'page']], archive: 'a,b']
        files['r/build.json'].steps.test = [result: 'FAILURE', message: 'test: it is bad', reports: reports]
        exits["'test'"] = 3
        refused("servicePipeline(agent: 'any')", 'test: it is bad')
        assertEquals(['test'], ran())
        assertTrue(trace.containsAll(['junit j.xml', 'html page', 'archiveArtifacts [artifacts:a,b, allowEmptyArchive:true]']))
    }

    @Test
    void anUnstableStepMarksTheBuild() {
        planned([[name: 'Test', branches: [[step('test'), step('scan')]]]])
        files['r/build.json'].steps.test = [result: 'UNSTABLE', message: 'test: it is bad', reports: [:]]
        run("servicePipeline(agent: 'any')")
        assertTrue(trace.contains('unstable test: it is bad'))
        assertEquals(['test'], ran())
    }

    @Test
    void aStepThatLeftNoRecordFails() {
        planned([[name: 'Test', branches: [[step('test')]]]])
        files.remove('r/build.json')
        exits["'test'"] = 137
        refused('runTests()', 'test: pipeline-tools ended with 137')
    }

    @Test
    void whatIsWrongIsSaid() {
        planned([[name: 'Test', branches: [[step('test')]]]])
        refused("servicePipeline(untill: 'test')", "There is no parameter 'untill'. Did you mean 'until'?")
        refused('scanCode()', 'The plan of x has no step scan: it has test.')
        files['/w@tmp/plan.json'].library = '0.0.8'
        refused("runTests(project: 'y')", "The library is ${LIBRARY.library}, but the agent linux has 0.0.8")
        exits["'plan'"] = 127
        refused("runTests(project: 'z')", 'There is no pipeline-tools on the agent linux')
    }
}
