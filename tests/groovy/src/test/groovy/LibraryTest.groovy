import static com.lesfurets.jenkins.unit.global.lib.LibraryConfiguration.library
import static com.lesfurets.jenkins.unit.global.lib.LocalSource.localSource
import static org.junit.Assert.assertEquals
import static org.junit.Assert.assertFalse
import static org.junit.Assert.assertTrue
import static org.junit.Assert.fail

import com.lesfurets.jenkins.unit.BasePipelineTest
import com.lesfurets.jenkins.unit.PipelineTestHelper
import groovy.json.JsonSlurperClassic
import java.nio.file.Files
import org.junit.Before
import org.junit.Test

/** The library's steps as Jenkins runs them; `LibraryCpsTest` runs the same in continuation-passing style. */
class LibraryTest extends BasePipelineTest {

    static final File CHECKOUT = new File('../..').canonicalFile
    static final Map STEPS = new JsonSlurperClassic().parse(new File(CHECKOUT, 'resources/steps.json')).steps
    static final Map VARS = [test: 'runTests', scan: 'scanCode', image: 'buildImage', chart: 'publishChart',
                             deploy: 'deploy', verify: 'verify']

    List<String> commands = []
    List<String> trace = []
    String plan = ''
    String failing = null
    File workspace = CHECKOUT
    boolean realShell = false

    PipelineTestHelper makeHelper() { return new PipelineTestHelper() }

    List<String> afterTheBody() { return ['unbind'] }

    @Override
    @Before
    void setUp() throws Exception {
        helper = makeHelper()
        super.setUp()
        // JenkinsPipelineUnit looks a library up as NAME@VERSION
        File link = new File('target/libraries/pipeline-tools@here')
        link.parentFile.mkdirs()
        if (!Files.isSymbolicLink(link.toPath())) {
            Files.createSymbolicLink(link.toPath(), CHECKOUT.toPath())
        }
        helper.registerSharedLibrary(library().name('pipeline-tools').defaultVersion('here').allowOverride(true)
            .implicit(true).targetPath('target/libraries').retriever(localSource('target/libraries')).build())
        binding.setVariable('scm', [:])
        binding.setVariable('currentBuild', [description: null])
        binding.setVariable('env', [BUILD_TAG: 'jenkins-team-a%2Fb-7'])
        helper.registerAllowedMethod('checkout', [Map], { })
        helper.registerAllowedMethod('libraryResource', [String], { String name ->
            new File(CHECKOUT, "resources/${name}").text
        })
        helper.registerAllowedMethod('readJSON', [Map], { Map from ->
            new JsonSlurperClassic().parseText(from.text ?: new File(workspace, from.file.toString()).text)
        })
        helper.registerAllowedMethod('sh', [Map], { Map call -> shell(call) })
        helper.registerAllowedMethod('withCredentials', [List, Closure], { List bindings, Closure body ->
            trace << "bind ${bindings.collect { it.credentialsId }}".toString()
            body()
            trace << 'unbind'
        })
        for (type in ['string', 'file', 'usernamePassword']) {
            helper.registerAllowedMethod(type, [Map], { Map binding -> binding })
        }
        helper.registerAllowedMethod('junit', [Map], { Map call -> trace << "junit ${call.testResults}".toString() })
        helper.registerAllowedMethod('archiveArtifacts', [Map], { Map call -> trace << 'archive' })
        helper.registerAllowedMethod('fileExists', [String], { String path -> new File(workspace, path).exists() })
        helper.registerAllowedMethod('input', [Map], { Map call -> trace << "input ${call.message}".toString() })
        helper.registerAllowedMethod('lock', [String, Closure], { String name, Closure body ->
            trace << "lock ${name}".toString()
            body()
        })
    }

    Object shell(Map call) {
        String command = call.script
        commands << command
        trace << command
        if (failing && command.contains(failing)) {
            throw new IllegalStateException("script returned exit code 3: ${command}")
        }
        return realShell ? reallyRun(command, call.returnStdout as boolean) : (call.returnStdout ? plan : null)
    }

    /** As Jenkins does it: in the workspace, an exit code other than 0 is an exception. */
    Object reallyRun(String command, boolean wanted) {
        ProcessBuilder builder = new ProcessBuilder('bash', '-ec', command).directory(workspace)
        builder.environment().put('PATH', "${CHECKOUT}/.venv/bin:${System.getenv('PATH')}".toString())
        builder.environment().remove('PIPELINE_TOOLS_PLATFORM')
        Process process = builder.redirectError(new File(workspace, 'stderr.log')).start()
        String said = process.inputStream.text
        int code = process.waitFor()
        if (code != 0) {
            throw new IllegalStateException("script returned exit code ${code}: ${command}")
        }
        return wanted ? said : null
    }

    /** A workspace with a library project in `service`, the folder that the repository's own Jenkinsfile names. */
    void realWorkspace(String test) {
        realShell = true
        workspace = Files.createTempDirectory('workspace').toFile()
        Map files = ['service/pipeline.yml': 'kind: library\nname: fixture\nscan: {enabled: false}\n',
                     'service/tests/test_it.py': test]
        files.each { name, text ->
            File file = new File(workspace, name)
            file.parentFile.mkdirs()
            file.text = text
        }
        reallyRun('git init --quiet && git add . && git -c user.name=t -c user.email=t@example.invalid commit -qm x', false)
    }

    void run(String body) {
        File script = File.createTempFile('pipeline', '.groovy')
        script.deleteOnExit()
        script.text = body
        runScript(script.path)
    }

    @Test
    void everyStepOfThePackageHasAStepHere() {
        assertEquals(STEPS.keySet(), VARS.keySet())
        VARS.each { name, var -> assertTrue(var, new File(CHECKOUT, "vars/${var}.groovy").exists()) }
    }

    @Test
    void everyStepIsThinAndDocumented() {
        new File(CHECKOUT, 'vars').eachFileMatch(~/.*\.groovy/) { File file ->
            assertTrue("${file.name} is longer than 15 lines", file.readLines().size() <= 15)
            assertTrue("${file.name} has no page", new File(file.path.replace('.groovy', '.txt')).exists())
            boolean shells = file.text =~ /\bsh\s*\(/
            assertEquals("only pipelineTool calls sh: ${file.name}", file.name == 'pipelineTool.groovy', shells)
        }
    }

    @Test
    void aStepBindsItsCredentialsAroundItselfOnly() {
        VARS.each { name, var ->
            trace.clear()
            run("${var}(environment: 'test')")
            List ids = STEPS[name].credentials*.id
            String command = "pipeline-tools 'step' '${name}' '--project' '.' '--log-format' 'plain'" +
                " '--run' 'jenkins-team-a-2Fb-7' '--environment' 'test'"
            assertEquals([/bind ${ids}/.toString(), command, *afterTheBody()], trace.take(2 + afterTheBody().size()))
        }
    }

    @Test
    void aFailedStepStillPublishesItsReports() {
        failing = "'step' 'test'"
        try {
            run('runTests()')
            fail('the failure was swallowed')
        } catch (IllegalStateException expected) {
            assertTrue(expected.message.contains('exit code 3'))
        }
        assertTrue(trace.contains('junit ./.pipeline/latest/steps/*/junit.xml'))
        assertTrue(trace.contains('archive'))
    }

    @Test
    void wordsAreQuotedSoThatTheShellReadsNoneOfThem() {
        run('''pipelineTool(['step', "it's; rm -rf x"])''')
        assertEquals(["pipeline-tools 'step' 'it'\\''s; rm -rf x'"], commands)
    }

    @Test
    void thePipelineRendersThePlan() {
        plan = '''{"stages": [
          {"name": "Test", "approval": false, "lock": null, "branches": [[{"id": "test", "step": "test", "environment": null}]]},
          {"name": "Build", "approval": false, "lock": null, "branches": [
            [{"id": "scan", "step": "scan", "environment": null}], [{"id": "image", "step": "image", "environment": null}]]},
          {"name": "PROD", "approval": true, "lock": "x-prod", "branches": [[
            {"id": "deploy-prod", "step": "deploy", "environment": "prod"},
            {"id": "verify-prod", "step": "verify", "environment": "prod"}]]}]}'''
        run("servicePipeline(project: 'service')")
        List steps = commands.findAll { it.contains("'step'") }.collect { (it =~ /'step' '(\w+)'/)[0][1] }
        assertEquals(['test', 'scan', 'image', 'deploy', 'verify'], steps)
        assertEquals([false, false, false, true, true], commands.findAll { it.contains("'step'") }*.contains("'--approve'"))
        int asked = trace.indexOf('input Deploy to PROD?')
        int locked = trace.indexOf('lock x-prod')
        int deployed = trace.findIndexOf { it.contains("'deploy'") }
        assertTrue("asked ${asked}, locked ${locked}, deployed ${deployed}", 0 < asked && asked < locked && locked < deployed)
    }

    @Test
    void aFailureEndsThePipeline() {
        plan = '''{"stages": [
          {"name": "Test", "approval": false, "lock": null, "branches": [[{"id": "test", "step": "test", "environment": null}]]},
          {"name": "PROD", "approval": true, "lock": "p", "branches": [[{"id": "d", "step": "deploy", "environment": "prod"}]]}]}'''
        failing = "'step' 'test'"
        try {
            run('servicePipeline()')
            fail('the failure was swallowed')
        } catch (IllegalStateException expected) {
            assertFalse(trace.any { it.startsWith('input') })
        }
    }

    @Test
    void theRepositorysOwnJenkinsfileRunsTheRealTool() {
        realWorkspace('def test_it() -> None:\n    assert True\n')
        runScript(new File(CHECKOUT, 'Jenkinsfile').path)
        Map run = new JsonSlurperClassic().parse(new File(workspace, 'service/.pipeline/latest/run.json'))
        assertEquals([['test', 'passed']], run.steps.collect { [it.id, it.status] })
        assertTrue(trace.contains('junit service/.pipeline/latest/steps/*/junit.xml'))
    }

    @Test
    void aRealFailureEndsTheBuildAndSaysWhy() {
        realWorkspace('def test_it() -> None:\n    assert False\n')
        try {
            runScript(new File(CHECKOUT, 'Jenkinsfile').path)
            fail('the failure was swallowed')
        } catch (IllegalStateException expected) {
            assertTrue(expected.message.contains('exit code 3'))
        }
        Map error = new JsonSlurperClassic().parse(new File(workspace, 'service/.pipeline/latest/error.json'))
        assertEquals('quality', error['class'])
        if (afterTheBody()) {
            assertEquals('test: 1 of 1 tests failed.', binding.getVariable('currentBuild').description.toString())
        }
    }
}
