package jenkins

import com.cloudbees.groovy.cps.Outcome
import groovy.json.JsonSlurperClassic
import hudson.AbortException
import java.nio.file.FileSystems
import java.nio.file.FileVisitResult
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.SimpleFileVisitor
import java.nio.file.attribute.BasicFileAttributes
import java.util.concurrent.Executors
import java.util.concurrent.ScheduledExecutorService
import java.util.concurrent.ScheduledFuture
import java.util.concurrent.TimeUnit
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException
import org.jenkinsci.plugins.workflow.steps.MissingContextVariableException
import org.yaml.snakeyaml.Yaml

/** The steps of Jenkins that the library uses, as their plugins document them; a parameter that they lack is refused. */
class Steps {
    /** Parameters of each step; the first is the one that can be given without its name. */
    static final Map<String, List<String>> STEPS = [
        archiveArtifacts: ['artifacts', 'allowEmptyArchive', 'excludes', 'fingerprint'],
        checkout: ['scm', 'changelog', 'poll'],
        container: ['name', 'shell'],
        echo: ['message'],
        error: ['message'],
        fileExists: ['file'],
        input: ['message', 'id', 'ok', 'submitter', 'submitterParameter', 'parameters'],
        junit: ['testResults', 'allowEmptyResults', 'skipMarkingBuildUnstable', 'skipPublishingChecks'],
        libraryResource: ['resource', 'encoding'],
        lock: ['resource', 'label', 'quantity'],
        milestone: ['ordinal', 'label'],
        node: ['label'],
        parallel: ['branches'],
        podTemplate: ['label', 'cloud', 'namespace', 'yaml'],
        properties: ['properties'],
        publishHTML: ['target'],
        pwd: ['tmp'],
        readJSON: ['file', 'text', 'returnPojo'],
        readYaml: ['file', 'text'],
        recordCoverage: ['tools', 'id', 'name', 'sourceCodeRetention'],
        retry: ['count', 'conditions'],
        sh: ['script', 'label', 'returnStdout', 'returnStatus', 'encoding'],
        stage: ['name'],
        timeout: ['time', 'unit', 'activity'],
        unstable: ['message'],
        withCredentials: ['bindings'],
        withEnv: ['overrides'],
        writeFile: ['file', 'text', 'encoding'],
    ]
    static final Set<String> SYMBOLS = ['agent', 'booleanParam', 'disableConcurrentBuilds', 'file', 'nonresumable',
        'parameters', 'sshUserPrivateKey', 'string', 'usernamePassword'] as Set
    /** Type in the store, its words in Jenkins, and the parameters of its binding. */
    static final Map<String, List> BINDINGS = [
        string: ['secret-text', 'Secret text', ['credentialsId', 'variable']],
        file: ['file', 'Secret file', ['credentialsId', 'variable']],
        usernamePassword: ['username-password', 'Username with password',
                           ['credentialsId', 'usernameVariable', 'passwordVariable']],
        sshUserPrivateKey: ['ssh-key', 'SSH Username with private key', ['credentialsId', 'keyFileVariable']],
    ]
    private static final Set<String> IN_A_WORKSPACE = ['archiveArtifacts', 'checkout', 'fileExists', 'junit', 'publishHTML',
        'pwd', 'recordCoverage', 'sh', 'writeFile'] as Set

    private final Build build
    private final ScheduledExecutorService timer = Executors.newScheduledThreadPool(1)
    private final Set<String> lost = []
    private final Set<String> locks = []
    private final Map<String, ScheduledFuture<?>> limits = [:]
    private final Map<Integer, Map<String, Outcome>> parallels = [:]
    private final Map<String, List<Shell>> shells = [:]
    private int agents = 0

    Steps(Build build) { this.build = build }

    void close() { timer.shutdownNow() }

    static String masked(String line, List<String> masks) {
        return masks.sort(false) { -it.size() }.inject(line) { String text, String secret -> text.replace(secret, '****') }
    }

    private File file(Map context, Object path) {
        File named = new File(path.toString())
        return named.absolute ? named : new File(context.workspace, path.toString())
    }

    void start(CpsThread thread, Request request) {
        String step = request.step
        Map args = strings(request.args)
        Map context = thread.frames.last().context
        Set unknown = step == 'parallel' ? [] : args.keySet() - STEPS[step]
        if (unknown) { throw new IllegalArgumentException("Unknown parameter(s) found for step '${step}': ${unknown}") }
        if (step in IN_A_WORKSPACE && (!context.workspace || context.agent in lost)) {
            throw new MissingContextVariableException(step)
        }
        build.trace << [step: step, args: args.findAll { name, value -> value instanceof CharSequence || value instanceof Number },
                        branch: thread.name]
        if (request.body || step == 'parallel') {
            this."begin_${step}"(thread, new Block(step: step, args: args, body: request.body), context)
        } else if (step in ['sh', 'input']) {
            this."do_${step}"(thread, args, context)
        } else {
            build.resume(thread.id, this."do_${step}"(args, context), null)
        }
    }

    private Object strings(Object value) {
        if (value instanceof GString) { return value.toString() }
        if (value instanceof Map) { return value.collectEntries { key, each -> [key.toString(), strings(each)] } }
        return value instanceof List ? value.collect { strings(it) } : value
    }

    // ── steps with a body ──

    void ended(CpsThread thread, Block block, Outcome outcome) {
        String method = "end_${block.step}"
        boolean own = metaClass.respondsTo(this, method)
        Outcome passed = own ? this."${method}"(thread, block, outcome) : outcome
        if (passed != null) { build.resume(thread.id, passed.normal, passed.abnormal) }
    }

    private void begin_stage(CpsThread thread, Block block, Map context) {
        build.print("[Pipeline] { (${block.args.name})")
        build.stages[block.args.name] = 'SUCCESS'
        build.launch(thread, block, context + [stage: block.args.name])
    }

    private Outcome end_stage(CpsThread thread, Block block, Outcome outcome) {
        if (outcome.failure) {
            Throwable error = outcome.abnormal
            build.stages[block.args.name] = error instanceof FlowInterruptedException ? error.result : 'FAILURE'
        }
        return outcome
    }

    private void begin_podTemplate(CpsThread thread, Block block, Map context) {
        Map pod = (Map) new Yaml().load(block.args.yaml)
        assert pod.kind == 'Pod' && pod.spec.containers*.name.every()
        if (block.args.yaml.contains('{{')) { throw new IllegalStateException("not filled in: ${block.args.yaml}") }
        build.podSpecs << block.args.yaml
        String label = "pod-${++agents}"
        List containers = pod.spec.containers*.name
        build.launch(thread, block, context + [pod: label, containers: containers, env: context.env + [POD_LABEL: label]])
    }

    private void begin_node(CpsThread thread, Block block, Map context) {
        String label = block.args.label ?: 'built-in'
        boolean pod = label == context.pod
        String agent = pod ? "${label}-${UUID.randomUUID().toString().take(5)}" : label
        // a pod begins with an empty workspace, any other agent with what the last build left there
        File workspace = new File(build.home, pod ? "agents/${agent}/workspace" : 'workspace')
        new File("${workspace}@tmp").mkdirs()
        workspace.mkdirs()
        build.print("Running on ${agent} in ${workspace}")
        Map variables = [NODE_NAME: agent, WORKSPACE: workspace.path, WORKSPACE_TMP: "${workspace}@tmp".toString()]
        build.launch(thread, block, context + [agent: agent, workspace: workspace.path, env: context.env + variables])
    }

    private void begin_container(CpsThread thread, Block block, Map context) {
        assert block.args.name in context.containers
        build.launch(thread, block, context + [container: block.args.name])
    }

    private void begin_withEnv(CpsThread thread, Block block, Map context) {
        Map added = block.args.overrides.collectEntries { String each -> each.split('=', 2).toList() }
        build.launch(thread, block, context + [env: context.env + added])
    }

    private void begin_withCredentials(CpsThread thread, Block block, Map context) {
        Map variables = [:]
        List secrets = []
        block.state.files = []
        block.args.bindings.each { Symbol binding ->
            def (String type, String words, List parameters) = BINDINGS[binding.name]
            Map given = (Map) strings(binding.args)
            assert given.keySet() == parameters as Set
            Map stored = build.credentials[given.credentialsId]
            if (stored == null) {
                throw new AbortException("Could not find credentials entry with ID '${given.credentialsId}'")
            }
            if (stored.type != type) {
                throw new AbortException("Credentials '${given.credentialsId}' is of type '${stored.type}' where " +
                    "'${words}' was expected")
            }
            if (type == 'username-password') {
                variables += [(given.usernameVariable): stored.username, (given.passwordVariable): stored.password]
                secrets << stored.password
            } else if (type == 'secret-text') {
                variables[given.variable] = stored.secret
                secrets << stored.secret
            } else {
                File file = new File("${context.workspace}@tmp/secretFiles/${UUID.randomUUID()}/secret")
                file.parentFile.mkdirs()
                file.text = stored.content
                variables[given.variable ?: given.keyFileVariable] = file.path
                block.state.files << file.path
            }
        }
        build.launch(thread, block, context + [env: context.env + variables, masks: context.masks + secrets])
    }

    private Outcome end_withCredentials(CpsThread thread, Block block, Outcome outcome) {
        block.state.files.each { String path -> new File(path).parentFile.deleteDir() }
        return outcome
    }

    private void begin_timeout(CpsThread thread, Block block, Map context) {
        long seconds = TimeUnit.valueOf(block.args.unit ?: 'MINUTES').toSeconds(block.args.time as long)
        Throwable cause = new FlowInterruptedException('ABORTED', 'Timeout has been exceeded')
        int id = thread.id
        block.state.key = UUID.randomUUID().toString()
        Runnable stop = { build.post { build.stop(id, cause) } }
        limits[block.state.key] = timer.schedule(stop, seconds, TimeUnit.SECONDS)
        build.launch(thread, block, context)
    }

    private Outcome end_timeout(CpsThread thread, Block block, Outcome outcome) {
        limits.remove(block.state.key).cancel(false)
        return outcome
    }

    private void begin_retry(CpsThread thread, Block block, Map context) {
        block.state.attempt = 1
        build.launch(thread, block, context)
    }

    private Outcome end_retry(CpsThread thread, Block block, Outcome outcome) {
        Throwable error = outcome.abnormal
        boolean agentLost = error instanceof MissingContextVariableException ||
            error instanceof FlowInterruptedException && error.causes == ['RemovedNodeCause']
        boolean worth = block.args.conditions ? agentLost && block.args.conditions*.name.contains('agent') : error != null
        if (!worth || block.state.attempt >= block.args.count) { return outcome }
        block.state.attempt++
        build.print('Retrying')
        build.launch(thread, block, thread.frames.last().context)
        return null
    }

    private void begin_lock(CpsThread thread, Block block, Map context) {
        assert locks.add(block.args.resource)
        build.launch(thread, block, context)
    }

    private Outcome end_lock(CpsThread thread, Block block, Outcome outcome) {
        locks.remove(block.args.resource)
        return outcome
    }

    private void begin_parallel(CpsThread thread, Block block, Map context) {
        Map<String, Closure> branches = block.args.findAll { name, body -> body instanceof Closure }
        parallels[thread.id] = [:]
        branches.each { String name, Closure body ->
            CpsThread branch = build.branch(thread, name)
            build.launch(branch, new Block(step: 'parallel', args: [name: name, all: branches.keySet() as List], body: body),
                         context)
        }
    }

    private Outcome end_parallel(CpsThread thread, Block block, Outcome outcome) {
        int parent = thread.parent
        Map done = parallels[parent]
        done[block.args.name] = outcome
        build.forget(thread)
        if (outcome.failure) { build.print("Failed in branch ${block.args.name}") }
        if (done.size() == block.args.all.size()) {
            Outcome failed = done.values().find { it.failure }
            build.resume(parent, failed ? null : done.collectEntries { name, each -> [name, each.normal] }, failed?.abnormal)
        }
        return null
    }

    // ── steps that take their time ──

    private void do_sh(CpsThread thread, Map args, Map context) {
        build.shells << args.script
        Shell shell = new Shell(build, thread.id, args, context)
        build.works(thread.id, shell)
        shells.computeIfAbsent(context.agent) { [] } << shell
        build.accidents.findAll { args.script.contains(it.when) && !it.happened }.take(1).each { Map accident ->
            accident.happened = true
            happen(accident, context)
        }
    }

    /** Waits for the file that says that the time has come. */
    private void happen(Map accident, Map context) {
        timer.schedule({
            if (!new File(context.workspace, accident.once).exists()) {
                happen(accident, context)
            } else if (accident.what == 'lose the agent') {
                lost << context.agent
                shells[context.agent]*.lose()
            } else {
                build.abort('ana')
            }
        } as Runnable, 50, TimeUnit.MILLISECONDS)
    }

    private void do_input(CpsThread thread, Map args, Map context) {
        build.questions << args.message
        build.print("${args.message}\n${args.ok} or Abort")
        int id = thread.id
        build.works(id, new Object() {
            void stop(Throwable cause) { build.resume(id, null, cause) }
        })
        String user = build.answer.approve ?: build.answer.reject
        if (!user) { return }
        if (args.submitter && !(user in args.submitter.split(','))) {
            throw new AbortException("You need to be ${args.submitter} to submit this.")
        }
        if (build.answer.reject) {
            build.resume(id, null, new FlowInterruptedException('ABORTED', "Rejected by ${user}"))
        } else {
            build.resume(id, args.submitterParameter ? user : null, null)
        }
    }

    // ── steps that are done at once ──

    private Object do_echo(Map args, Map context) { build.print(args.message) }

    private Object do_error(Map args, Map context) { throw new AbortException(args.message) }

    private Object do_unstable(Map args, Map context) {
        build.print("WARNING: ${args.message}")
        build.currentBuild.result = 'UNSTABLE'
        build.stages[context.stage] = 'UNSTABLE'
        return null
    }

    private Object do_properties(Map args, Map context) {
        build.jobProperties = args.properties.collect { Symbol each -> [name: each.name, args: each.args] }
        return null
    }

    private Object do_milestone(Map args, Map context) {
        Integer reached = build.milestones[args.ordinal]
        if (reached != null && reached > build.number) {
            throw new FlowInterruptedException('NOT_BUILT', "Superseded by #${reached}")
        }
        build.milestones[args.ordinal] = build.number
        return null
    }

    private Object do_libraryResource(Map args, Map context) {
        File ours = new File(build.library, "resources/${args.resource}")
        if (build.resources.containsKey(args.resource)) { return build.resources[args.resource] }
        if (!ours.file) { throw new AbortException("No such library resource ${args.resource} could be found.") }
        return ours.text
    }

    private Object do_readJSON(Map args, Map context) {
        // what Jenkins otherwise gives has objects for null, which are true in Groovy
        assert args.returnPojo
        return new JsonSlurperClassic().parseText(args.text ?: file(context, args.file).text)
    }

    private Object do_readYaml(Map args, Map context) { return new Yaml().load(args.text ?: file(context, args.file).text) }

    private Object do_writeFile(Map args, Map context) {
        File file = file(context, args.file)
        file.parentFile.mkdirs()
        file.text = args.text
        return null
    }

    private Object do_fileExists(Map args, Map context) { return file(context, args.file).exists() }

    private Object do_pwd(Map args, Map context) {
        return args.tmp ? "${context.workspace}@tmp".toString() : context.workspace
    }

    private Object do_checkout(Map args, Map context) {
        File workspace = new File(context.workspace)
        List<List<String>> commands = new File(workspace, '.git').exists() ? [] : [['git', 'init', '--quiet', '.']]
        commands << ['git', 'fetch', '--quiet', '--tags', args.scm.url, '+refs/heads/*:refs/remotes/origin/*']
        commands << ['git', 'checkout', '--quiet', '--force', '--detach', args.scm.commit]
        commands.each { List<String> command ->
            Process process = new ProcessBuilder(command).directory(workspace).redirectErrorStream(true).start()
            String said = process.inputStream.text
            if (process.waitFor() != 0) { throw new AbortException("${command.join(' ')}: ${said}") }
        }
        return [GIT_COMMIT: args.scm.commit]
    }

    private Object do_junit(Map args, Map context) {
        List<File> files = matching(context, args.testResults)
        if (!files && !args.allowEmptyResults) { throw new AbortException('No test report files were found.') }
        files.each { File file ->
            new XmlSlurper().parse(file).depthFirst().findAll { it.name() == 'testsuite' }.each { suite ->
                build.junit.tests = (build.junit.tests ?: 0) + (suite.@tests.text() as int)
                int failed = (suite.@failures.text() ?: '0') as int
                build.junit.failed = (build.junit.failed ?: 0) + failed + ((suite.@errors.text() ?: '0') as int)
            }
        }
        if (build.junit.failed && !args.skipMarkingBuildUnstable) { build.currentBuild.result = 'UNSTABLE' }
        return null
    }

    private Object do_recordCoverage(Map args, Map context) {
        args.tools.each { Map tool ->
            assert tool.parser == 'COBERTURA'
            List<File> files = matching(context, tool.pattern)
            if (!files) { throw new AbortException("No files found for pattern '${tool.pattern}'") }
            XmlSlurper parser = new XmlSlurper(false, false)
            parser.setFeature('http://apache.org/xml/features/nonvalidating/load-external-dtd', false)
            build.coverage.lines = parser.parse(files[0]).@'line-rate'.text() as double
        }
        return null
    }

    private Object do_publishHTML(Map args, Map context) {
        Map target = args.target
        File folder = file(context, target.reportDir)
        if (!folder.exists() && !target.allowMissing) { throw new AbortException("Specified HTML directory '${folder}'") }
        matching(context, "${target.reportDir}/${target.includes}").each { File file ->
            keep(file, new File(build.home, "htmlreports/${target.reportName}/${file.name}"))
        }
        return null
    }

    private Object do_archiveArtifacts(Map args, Map context) {
        List<File> files = args.artifacts.split(',').collectMany { String each -> matching(context, each.trim()) }
        if (!files && !args.allowEmptyArchive) { throw new AbortException('No artifacts found that match the pattern') }
        Path workspace = new File(context.workspace).toPath()
        files.each { File file -> keep(file, new File(build.home, "archive/${workspace.relativize(file.toPath())}")) }
        return null
    }

    private static void keep(File file, File target) {
        target.parentFile.mkdirs()
        target.bytes = file.bytes
    }

    /** Files of the workspace, as Ant's patterns name them: `*` and `**`. */
    private List<File> matching(Map context, String pattern) {
        String plain = Path.of(pattern).normalize().toString()
        File exact = new File(context.workspace, plain)
        if (exact.file) { return [exact] }
        def matcher = FileSystems.default.getPathMatcher("glob:${plain}")
        Path workspace = new File(context.workspace).toPath()
        List<File> found = []
        Files.walkFileTree(workspace, new SimpleFileVisitor<Path>() {

            @Override
            FileVisitResult visitFile(Path file, BasicFileAttributes about) {
                if (about.regularFile && matcher.matches(workspace.relativize(file))) { found << file.toFile() }
                return FileVisitResult.CONTINUE
            }

            // a branch beside this one moves its files about
            @Override
            FileVisitResult visitFileFailed(Path file, IOException gone) { return FileVisitResult.CONTINUE }

            @Override
            FileVisitResult postVisitDirectory(Path folder, IOException gone) { return FileVisitResult.CONTINUE }

        })
        return found
    }
}
