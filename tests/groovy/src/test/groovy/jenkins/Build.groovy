package jenkins

import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.Continuation
import com.cloudbees.groovy.cps.CpsTransformer
import com.cloudbees.groovy.cps.Envs
import com.cloudbees.groovy.cps.NonCPS
import com.cloudbees.groovy.cps.Outcome
import com.cloudbees.groovy.cps.impl.CpsCallableInvocation
import java.util.concurrent.LinkedBlockingQueue
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.customizers.ImportCustomizer
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/**
 * One build of a Jenkinsfile, as Jenkins runs it: the program is interpreted in continuation-passing style by Jenkins' own
 * interpreter, in one thread; a step suspends it. At each step the whole state is written out and read back, as after a
 * restart of the controller, and the build goes on with what was read.
 */
class Build {
    static Build current

    // ── what a test says ──
    File library
    File home
    int number = 1
    String job = 'team/clasificador'
    /** What the agents have in their environment. */
    Map<String, String> agentEnv = [:]
    Map<String, String> jobEnv = [:]
    Map<String, Map> credentials = [:]
    /** Another library's `resources/`, as a company has one. */
    Map<String, String> resources = [:]
    Set<String> missingPlugins = []
    /** The repository and commit that are built. */
    Scm scm
    Map params = [:]
    /** How questions are answered: `[approve: 'ana']`, `[reject: 'ana']`; empty: nobody answers. */
    Map answer = [approve: 'ana']
    /** `[when: text of a command, once: a file of the workspace that is there by then, what: 'abort' | 'lose the agent']`. */
    List<Map> accidents = []
    Map<Integer, Integer> milestones = [:]
    boolean echo = false

    // ── what came of it ──
    String result
    String displayName = '#1'
    String description
    List<Map> trace = []
    List<String> shells = []
    List<String> questions = []
    List<String> podSpecs = []
    List<Map> jobProperties = []
    Map<String, String> stages = [:]
    Map junit = [:]
    Map coverage = [:]
    Throwable error
    int checkpoints = 0
    final StringBuffer log = new StringBuffer()
    /** What processes printed before it was masked: only `Steps` masks. */
    final StringBuffer unmasked = new StringBuffer()

    final Object env = new Variables()
    final CurrentBuild currentBuild = new CurrentBuild()

    private List<CpsThread> threads = []
    private Map<String, Script> variables = [:]
    private final Map<Integer, Object> working = [:]
    private final LinkedBlockingQueue<Runnable> queue = new LinkedBlockingQueue<>()
    private CpsThread running
    private boolean over = false
    private GroovyClassLoader loader
    private Steps steps

    /** Runs a Jenkinsfile to its end. */
    Build run(String jenkinsfile) {
        current = this
        home.mkdirs()
        steps = new Steps(this)
        displayName = "#${number}"
        loader = new GroovyClassLoader(Build.classLoader, configuration())
        Map base = [BUILD_NUMBER: "${number}".toString(), JOB_NAME: job,
                    BUILD_TAG: "jenkins-${job.replace('/', '-')}-${number}".toString(),
                    BUILD_URL: "https://jenkins.example.com/job/${job.replace('/', '/job/')}/${number}/".toString()] + jobEnv
        Script script = loader.parseClass(jenkinsfile, 'WorkflowScript.groovy').newInstance()
        Frame frame = new Frame(program: new Continuable(script, Envs.empty(new Recorder())),
                                context: [env: base, masks: []])
        threads = [new CpsThread(id: 0, name: '', frames: [frame])]
        try {
            resume(0, null, null)
            while (!over) { queue.take().run() }
        } finally {
            steps.close()
            new File(home, 'log').text = log
        }
        return this
    }

    private CompilerConfiguration configuration() {
        CompilerConfiguration configuration = new CompilerConfiguration()
        configuration.scriptBaseClass = JenkinsScript.name
        configuration.addCompilationCustomizers(new CpsTransformer())
        configuration.addCompilationCustomizers(new ImportCustomizer().addImports(NonCPS.name, Library.name))
        return configuration
    }

    // ── what programs see ──

    Map context() { return running ? running.frames.last().context : [env: [:]] }

    /** A step of the library; made once, as it may keep something in a field. */
    Script variable(String name) {
        File source = new File(library, "vars/${name}.groovy")
        if (!variables.containsKey(name) && source.file) {
            variables[name] = (Script) loader.parseClass(source.text, "${name}.groovy").newInstance()
        }
        return variables[name]
    }

    Object dsl(String name, Object[] given) {
        if (name in missingPlugins || !(name in Steps.STEPS.keySet() + Steps.SYMBOLS)) {
            throw new NoSuchMethodError("No such DSL method '${name}' found among steps ${Steps.STEPS.keySet()}")
        }
        List values = given.toList()
        if (name in Steps.SYMBOLS) {
            Object first = values ? values[0] : [:]
            return new Symbol(name: name, args: first instanceof Map ? first : [value: first])
        }
        Closure body = values && values.last() instanceof Closure ? values.pop() : null
        Map args = values && values[0] instanceof Map ? values[0] as Map : [:]
        if (values && !(values[0] instanceof Map)) { args = [(Steps.STEPS[name][0]): values[0]] }
        return Continuable.suspend(name, new Request(step: name, args: args, body: body))
    }

    // ── the interpreter's thread ──

    void post(Runnable work) { queue.put(work) }

    CpsThread threadOf(int id) { return threads.find { it.id == id } }

    /** A step has ended: its program goes on. */
    void resume(int id, Object value, Throwable error) {
        post {
            working.remove(id)
            CpsThread thread = threadOf(id)
            Frame frame = thread.frames.last()
            running = thread
            Outcome outcome = frame.program.run0(new Outcome(value, error))
            running = null
            if (frame.program.resumable) {
                thread.pending = (Request) outcome.normal
                checkpoint()
                start(threadOf(id))
            } else {
                thread.frames.remove(thread.frames.size() - 1)
                if (frame.block == null) { finish(outcome) } else { steps.ended(thread, frame.block, outcome) }
            }
        }
    }

    private void start(CpsThread thread) {
        Request request = thread.pending
        thread.pending = null
        if (thread.stopped) {
            Throwable cause = thread.stopped
            thread.stopped = null
            resume(thread.id, null, cause)
            return
        }
        try {
            steps.start(thread, request)
        } catch (Exception | AssertionError refused) {
            resume(thread.id, null, refused)
        }
    }

    /** Begins the body of a block. */
    void launch(CpsThread thread, Block block, Map context) {
        try {
            Object value = block.body.call()
            steps.ended(thread, block, new Outcome(value, null))
        } catch (CpsCallableInvocation invocation) {
            Continuable program = new Continuable(invocation.invoke(Envs.empty(new Recorder()), null, Continuation.HALT))
            thread.frames << new Frame(program: program, block: block, context: context)
            resume(thread.id, null, null)
        }
    }

    /** A branch of `parallel`. */
    CpsThread branch(CpsThread parent, String name) {
        CpsThread thread = new CpsThread(id: threads*.id.max() + 1, name: name, parent: parent.id)
        threads << thread
        return thread
    }

    void forget(CpsThread thread) { threads.removeAll { it.id == thread.id } }

    void works(int id, Object operation) { working[id] = operation }

    boolean isWorking(int id) { return working.containsKey(id) }

    /** Stops what a thread, and the branches that it waits for, are at. */
    void stop(int id, Throwable cause) {
        List<CpsThread> branches = threads.findAll { it.parent == id }
        if (working[id]) {
            working[id].stop(cause)
        } else if (branches) {
            branches.each { stop(it.id, cause) }
        } else if (threadOf(id)) {
            threadOf(id).stopped = cause
        }
    }

    void abort(String user) {
        post {
            print("Aborted by ${user}")
            stop(0, new FlowInterruptedException('ABORTED', "aborted by ${user}"))
        }
    }

    private void finish(Outcome outcome) {
        error = outcome.abnormal
        if (error instanceof FlowInterruptedException) {
            currentBuild.result = error.result
        } else if (error) {
            currentBuild.result = 'FAILURE'
            print("ERROR: ${error.message ?: error}")
            if (!(error instanceof hudson.AbortException)) {
                StringWriter told = new StringWriter()
                error.printStackTrace(new PrintWriter(told, true))
                print(told.toString())
            }
        }
        result = currentBuild.currentResult
        print("Finished: ${result}")
        over = true
    }

    /** As after a restart: what is not in the written state does not exist any more. */
    private void checkpoint() {
        checkpoints++
        ByteArrayOutputStream written = new ByteArrayOutputStream()
        new ObjectOutputStream(written).withCloseable { it.writeObject([threads, variables]) }
        ObjectInputStream input = new Restorer(new ByteArrayInputStream(written.toByteArray()), loader)
        List state = (List) input.readObject()
        threads = state[0] as List<CpsThread>
        variables = state[1] as Map<String, Script>
    }

    synchronized void print(String line) {
        log.append(line).append('\n')
        if (echo) { System.err.println(line) }
    }

    /** Finds the classes of scripts as well. */
    private static class Restorer extends ObjectInputStream {
        private final ClassLoader loader

        Restorer(InputStream input, ClassLoader loader) {
            super(input)
            this.loader = loader
        }

        @Override
        protected Class<?> resolveClass(ObjectStreamClass description) throws IOException, ClassNotFoundException {
            try {
                return Class.forName(description.name, false, loader)
            } catch (ClassNotFoundException primitive) {
                return super.resolveClass(description)
            }
        }
    }
}
