import static jenkins.Workspace.CHECKOUT
import static jenkins.Workspace.CREDENTIALS
import static jenkins.Workspace.DIGEST
import static org.junit.Assert.assertEquals
import static org.junit.Assert.assertFalse
import static org.junit.Assert.assertNull
import static org.junit.Assert.assertTrue

import jenkins.Build
import jenkins.Recorder
import jenkins.Workspace
import org.junit.After
import org.junit.AfterClass
import org.junit.Test

/** Jenkinsfiles that run as in Jenkins: its interpreter, restarted at each step, real shells, and the real pipeline-tools. */
class HarnessTest {
    static final String FAILS = '''
from pipeline_tools.errors import QualityError
(ctx.out / "junit.xml").write_text('<testsuite tests="3" failures="1" errors="0"/>')
raise QualityError("1 of 3 tests failed.", hint="Look at it.")
'''
    static final String SLOW = '''
import time
(ctx.out / "junit.xml").write_text('<testsuite tests="1" failures="0" errors="0"/>')
try:
    (ctx.project / "at-work").write_text("")
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    (ctx.project / "cleaned").write_text("up")
    raise
'''

    /** Fewer steps, where the others do not matter. */
    static final String SMALL = Workspace.SERVICE + '''
scan: {enabled: false}
chart: {enabled: false}
verify: {enabled: false}
'''

    Workspace workspace

    @After
    void close() { workspace?.close() }

    /** In the sandbox only what script-security's whitelists name may be called; they are repeated in a file beside the tests. */
    @AfterClass
    static void everyCallIsAllowedInTheSandbox() {
        Set<String> allowed = new File('sandbox.txt').readLines().findAll { it && !it.startsWith('#') }
            .collect { it.split(' — ')[0] } as Set
        assertEquals([], (Recorder.CALLS - allowed) as List)
    }

    Build run(String jenkinsfile, Map settings = [:]) { return workspace.build(settings).run(jenkinsfile) }

    static List<String> steps(Build build) {
        return build.shells.findAll { it.contains("'step'") }.collect { (it =~ /'step' '([\w-]+)'/)[0][1] }
    }

    List<File> left() {
        List<File> files = []
        workspace.root.eachFileRecurse { if (it.file && !it.path.startsWith("${workspace.root}/repository")) { files << it } }
        return files
    }

    @Test
    void aWholePipelineInAPodOfThePlatformsMaking() {
        workspace = new Workspace()
        String platform = Workspace.PLATFORM + '''
jenkins:
  agent: {image: "registry.example.com/agent:1", memory: 3Gi, docker: "docker:28-dind", namespace: ci, cloud: ours}
  credentials: {artifactory: their-artifactory}
environments: {prod: {approvers: [ana, ops]}}
'''
        Map credentials = ['their-artifactory': CREDENTIALS.artifactory] + CREDENTIALS.findAll { it.key != 'artifactory' }
        Build build = run(new File(CHECKOUT, 'Jenkinsfile').text,
                          [resources: ['platform.yml': platform], credentials: credentials, number: 7])
        assertEquals(build.log.toString(), 'SUCCESS', build.result)
        assertEquals(['test', 'scan', 'image', 'chart', 'deploy-test', 'verify-test', 'deploy-prod', 'verify-prod'].sort(),
                     steps(build).sort())
        assertEquals(['Checkout', 'Test', 'Build', 'TEST', 'PROD'], build.stages.keySet() as List)
        // one shell call for the plan, and one for each step
        assertEquals(9, build.shells.size())
        assertEquals([3: 7, 4: 7], build.milestones)
        assertEquals(['x-test', 'x-prod'], build.trace.findAll { it.step == 'lock' }*.args*.resource)
        assertEquals(1, build.questions.size())
        assertTrue(build.questions[0], build.questions[0].contains(DIGEST))
        assertEquals([tests: 3, failed: 0], build.junit)
        assertEquals(0.875, build.coverage.lines, 0)
        assertTrue(build.displayName, build.displayName.startsWith('#7 0.1.0-g'))
        assertTrue(build.description, build.description.contains('quality gate OK https://sonar.example.com/dashboard?id=x'))
        assertTrue(build.description.contains('PROD runs it https://prod.example.com'))
        assertTrue(new File(build.home, 'htmlreports/pipeline-tools/report.html').file)
        assertTrue(build.podSpecs[0].contains('registry.example.com/agent:1') && build.podSpecs[0].contains('memory: "3Gi"'))
        assertEquals(['disableConcurrentBuilds', 'parameters'], build.jobProperties*.name)
        assertTrue('everything was written out and read back', build.checkpoints > 50)
        File events = left().find { it.name == 'events.jsonl' && it.path.contains('/archive/') }
        assertTrue(events.text, events.text.contains('"event": "approved", "step": "deploy-prod", "by": "ana"'))
        // the canary: nowhere but in the files that Jenkins itself binds, which are gone
        CREDENTIALS.values()*.values().flatten().findAll { it.startsWith('canary') }.each { String secret ->
            assertFalse(build.unmasked.toString().contains(secret))
            assertFalse(build.podSpecs.toString().contains(secret) || build.trace.toString().contains(secret))
            left().each { assertFalse("${it} has a secret", it.text.contains(secret)) }
        }
    }

    @Test
    void aFailingTestFailsTheBuildWithItsReportsAndGoesNoFurther() {
        workspace = new Workspace('service/do/test.py': FAILS)
        Build build = run("servicePipeline(project: 'service', agent: 'linux', environment: 'test')")
        assertEquals('FAILURE', build.result)
        assertEquals(['test'], steps(build))
        assertEquals([tests: 3, failed: 1], build.junit)
        assertEquals('test: 1 of 3 tests failed. Look at it.', build.error.message)
        assertEquals('test: 1 of 3 tests failed. Look at it.', build.description)
        assertEquals('FAILURE', build.stages.Test)
        assertTrue(left().any { it.path.endsWith('error.json') && it.path.contains('/archive/') })
    }

    @Test
    void itIsUnstableWhereThePlatformSaysSoAndGoesNoFurtherEither() {
        workspace = new Workspace('service/do/test.py': FAILS)
        Build build = run("servicePipeline(project: 'service', agent: 'any')", [platform: 'jenkins: {quality: unstable}'])
        assertEquals('UNSTABLE', build.result)
        assertEquals('UNSTABLE', build.stages.Test)
        assertEquals(['test'], steps(build))
        assertEquals(['Checkout', 'Test'], build.stages.keySet() as List)
    }

    @Test
    void ofParallelBranchesOneFailsAndTheOthersEnd() {
        workspace = new Workspace('service/do/scan.py': FAILS)
        Build build = run("servicePipeline(project: 'service', agent: 'linux')")
        assertEquals('FAILURE', build.result)
        assertEquals(['chart', 'image', 'scan', 'test'], steps(build).sort())
        assertTrue(build.error.message, build.error.message.startsWith('scan: 1 of 3'))
        assertTrue(build.questions.empty)
    }

    @Test
    void anAbortReachesTheStepThatCleansUpAndItsReportsArePublished() {
        workspace = new Workspace('service/do/test.py': SLOW)
        Build build = run("servicePipeline(project: 'service', agent: 'linux')",
                          [accidents: [[when: "'step' 'test'", once: 'service/at-work', what: 'abort']]])
        assertEquals('ABORTED', build.result)
        assertEquals('ABORTED', build.stages.Test)
        assertTrue('the build waited for it', new File(workspace.root, 'jenkins/workspace/service/cleaned').file)
        assertEquals('interrupted', workspace.record('run.json').steps[0].status)
        assertEquals([tests: 1, failed: 0], build.junit)
    }

    @Test
    void aRejectedApprovalAbortsBeforeAnythingIsDeployed() {
        workspace = new Workspace('service/pipeline.yml': SMALL)
        Build build = run("servicePipeline(project: 'service', agent: 'linux')", [answer: [reject: 'ana']])
        assertEquals('ABORTED', build.result)
        assertEquals(['Rejected by ana'], build.error.causes)
        assertFalse(steps(build).any { it.contains('prod') })
    }

    @Test
    void aLostAgentIsReplacedAndNothingElseIsTriedAgain() {
        workspace = new Workspace('service/do/scan.py': SLOW)
        Build build = run("servicePipeline(project: 'service', until: 'scan')", [
            accidents: [[when: "'step' 'scan'", once: 'service/at-work', what: 'lose the agent'],
                        [when: "'step' 'scan'", once: 'service/at-work', what: 'lose the agent']]])
        assertEquals('a second loss is the end of it', 'ABORTED', build.result)
        assertEquals(2, build.trace.count { it.step == 'node' })
        assertEquals(2, build.trace.count { it.step == 'checkout' })
        assertEquals(1, build.log.toString().count('Retrying'))
    }

    @Test
    void whatPassedBeforeIsNotRepeatedOnAnAgentThatKeptIt() {
        workspace = new Workspace()
        String until = "libraryPipeline(project: 'service', agent: 'linux', until: 'test')"
        workspace.commit('service/pipeline.yml': 'name: x\nkind: library\n')
        assertEquals('SUCCESS', run(until).result)
        Build build = run(until, [number: 2])
        assertEquals('unchanged', workspace.record('run.json').steps[0].status)
        assertEquals('its reports are this build\'s too', 3, build.junit.tests)
        run(until, [number: 3, params: [force: true]])
        assertEquals('passed', workspace.record('run.json').steps[0].status)
    }

    @Test
    void aPullRequestDeploysNothing() {
        workspace = new Workspace()
        Build build = run("servicePipeline(project: 'service', agent: 'linux')",
                          [jobEnv: [BRANCH_NAME: 'PR-3', CHANGE_ID: '3', CHANGE_TARGET: 'main']])
        assertEquals(build.log.toString(), 'SUCCESS', build.result)
        assertEquals(['chart', 'image', 'scan', 'test'], steps(build).sort())
    }

    @Test
    void stepsThatOneComposesOneself() {
        workspace = new Workspace()
        Build build = run('''
            node('linux') {
                checkout scm
                runTests(project: 'service')
                parallel(image: { buildImage(project: 'service') }, chart: { publishChart(project: 'service') },
                         scan: { scanCode(project: 'service') })
                deploy(project: 'service', environment: 'test')
                verify(project: 'service', environment: 'test')
                String approver = pipelineApproval(project: 'service', environment: 'prod')
                deploy(project: 'service', environment: 'prod', approver: approver)
                echo "approved by ${approver}"
            }
        ''')
        assertEquals(build.log.toString(), 'SUCCESS', build.result)
        assertTrue(build.log.toString().contains('approved by ana'))
        assertTrue(build.questions[0].contains(DIGEST))
        // one plan for all of them
        assertEquals(8, build.shells.size())
        assertEquals(1, workspace.events().count { it.event == 'approved' && it.by == 'ana' })
        build = run('''
            node('linux') {
                checkout scm
                deploy(project: 'service', environment: 'test')
                deploy(project: 'service', environment: 'tset')
            }
        ''', [jobEnv: [CHANGE_ID: '3']])
        assertTrue(build.log.toString().contains('deploy-test is left out: nothing is released from a pull request (3).'))
        assertEquals('SUCCESS', build.result)
    }

    @Test
    void theOtherKindsOfProjects() {
        Map<String, List<String>> kinds = [data: ['test', 'check', 'promote'], chart: ['chart']]
        kinds.each { String kind, List<String> expected ->
            workspace = new Workspace('service/pipeline.yml': "name: x\nkind: ${kind}\npin: {repository: ../service.git}\n")
            Build build = run("${kind}Pipeline(project: 'service', agent: 'linux')")
            assertEquals(build.log.toString(), 'SUCCESS', build.result)
            assertEquals(expected, steps(build))
            workspace.close()
        }
    }

    @Test
    void everyStepHasANameOfItsOwn() {
        workspace = new Workspace('service/pipeline.yml': 'name: x\nkind: model\npin: {repository: ../service.git}\n')
        Build build = run('''
            node('linux') {
                checkout scm
                Map project = [project: 'service']
                runTests(project)
                evaluateModel(project)
                promoteCommit(project)
                exportModel(project)
                publishModel(project)
                pinModel(project)
            }
        ''')
        assertEquals(build.log.toString(), 'SUCCESS', build.result)
        assertEquals(7, build.shells.size())
    }

    // ── what is wrong is said once, with what to change ──

    void refused(String jenkinsfile, String message, Map settings = [:]) {
        Build build = run(jenkinsfile, settings)
        assertEquals(build.log.toString(), 'FAILURE', build.result)
        assertTrue("${build.error.message}", build.error.message.contains(message))
    }

    @Test
    void aParameterThatThereIsNot() {
        workspace = new Workspace()
        refused("servicePipeline(enviroment: 'test')", "There is no parameter 'enviroment'. Did you mean 'environment'?")
        refused("node('x') { checkout scm; runTests(projct: 'service') }", "Did you mean 'project'?")
    }

    @Test
    void anAgentWithoutTheTool() {
        workspace = new Workspace()
        refused("servicePipeline(project: 'service', agent: 'bare')",
                'There is no pipeline-tools on the agent bare: use the image of resources/agent, or install pipeline-tools==0.1.0',
                [agentEnv: [PATH: '/usr/bin:/bin']])
    }

    @Test
    void anotherVersionOfThePackage() {
        workspace = new Workspace()
        File bin = new File(workspace.root, 'bin')
        bin.mkdirs()
        File old = new File(bin, 'pipeline-tools')
        old.text = '#!/bin/sh\n[ "$1" = --version ] && echo "pipeline-tools, version 0.0.9" && exit\n' +
            'echo "Error: No such option: --output"; exit 2\n'
        old.executable = true
        refused("servicePipeline(project: 'service', agent: 'linux')",
                'The library is 0.1.0, but the agent linux has pipeline-tools, version 0.0.9: install pipeline-tools==0.1.0',
                [agentEnv: [PATH: "${bin}:/usr/bin:/bin".toString()]])
    }

    @Test
    void aPlanThatCannotBeMade() {
        workspace = new Workspace('service/pipeline.yml': 'nmae: x\n')
        refused("servicePipeline(project: 'service', agent: 'linux')", 'pipeline-tools made no plan of service')
        workspace.commit('service/pipeline.yml': 'kind: data\nname: x\n')
        refused("servicePipeline(project: 'service', agent: 'linux')", 'pipeline-tools made no plan of service')
        assertTrue(new File(workspace.root, 'jenkins/log').text.contains('Use dataPipeline()'))
    }

    @Test
    void aPluginThatIsMissing() {
        workspace = new Workspace()
        refused("servicePipeline(project: 'service', agent: 'linux', until: 'test')",
                "Jenkins has no step 'recordCoverage': install the plugin coverage.", [missingPlugins: ['recordCoverage']])
        refused("servicePipeline()", "Jenkins has no step 'readJSON': install the plugin pipeline-utility-steps.",
                [missingPlugins: ['readJSON']])
    }

    @Test
    void aCredentialThatJenkinsLacks() {
        workspace = new Workspace()
        refused("servicePipeline(project: 'service', agent: 'linux', until: 'scan')",
                "Could not find credentials entry with ID 'sonarqube-token': create it in Jenkins, or name the one",
                [credentials: CREDENTIALS.findAll { it.key != 'sonarqube-token' }])
    }

    @Test
    void aStepThatIsRefusedBeforeItBegins() {
        workspace = new Workspace()
        refused("servicePipeline(project: 'service', agent: 'linux', until: 'scan')",
                'scan: Keys are not set that steps need: scan needs sonarqube.url. Set them in the platform file',
                [agentEnv: [PIPELINE_TOOLS_PLATFORM: new File(workspace.root, 'none.yml').with { it.text = ''; it.path }]])
    }
}
