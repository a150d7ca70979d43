package jenkins

import java.util.concurrent.TimeUnit
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/**
 * `sh`, as the durable-task plugin does it: a real shell in the workspace. A stop sends SIGTERM to every process that has
 * the step's cookie in its environment, and waits for the shell; after 20 s the step fails all the same.
 */
class Shell {
    private static final int PATIENCE = 20
    private static int count = 0

    private final Build build
    private final int thread
    private final Map args
    private final String cookie
    private final Process process
    private final List<String> masks
    private final StringBuffer output = new StringBuffer()
    private volatile Throwable cause
    private volatile boolean over = false

    Shell(Build build, int thread, Map args, Map context) {
        this.build = build
        this.thread = thread
        this.args = args
        this.masks = context.masks
        this.cookie = "durable-${++count}-${UUID.randomUUID()}"
        File folder = new File("${context.workspace}@tmp/${cookie}")
        folder.mkdirs()
        File script = new File(folder, 'script.sh')
        script.text = args.script
        List<String> command = args.script.startsWith('#!') ? [script.path] : ['sh', '-xe', script.path]
        ProcessBuilder builder = new ProcessBuilder(command).directory(new File(context.workspace))
        builder.environment().keySet().removeAll { it.startsWith('PIPELINE_TOOLS_') }
        builder.environment().putAll(build.agentEnv + context.env + [JENKINS_SERVER_COOKIE: cookie])
        if (!args.returnStdout) { builder.redirectErrorStream(true) }
        process = builder.start()
        process.outputStream.close()
        List<Thread> readers = [read(process.inputStream, args.returnStdout as boolean)]
        if (args.returnStdout) { readers << read(process.errorStream, false) }
        Thread.startDaemon {
            int code = process.waitFor()
            readers*.join(5000)
            build.post { ended(code) }
        }
    }

    private Thread read(InputStream stream, boolean kept) {
        return Thread.startDaemon {
            stream.eachLine('UTF-8') { String line ->
                if (kept) {
                    output.append(line).append('\n')
                } else {
                    build.unmasked.append(line).append('\n')
                    build.print(Steps.masked(line, masks))
                }
            }
        }
    }

    private void ended(int code) {
        if (over) { return }
        over = true
        if (cause) {
            build.resume(thread, null, cause)
        } else if (args.returnStatus) {
            build.resume(thread, code, null)
        } else if (code != 0) {
            build.resume(thread, null, new hudson.AbortException("script returned exit code ${code}"))
        } else {
            build.resume(thread, args.returnStdout ? output.toString() : null, null)
        }
    }

    void stop(Throwable why) {
        if (over || cause) { return }
        cause = why
        build.print('Sending interrupt signal to process')
        kill('TERM')
        Thread.startDaemon {
            if (!process.waitFor(PATIENCE, TimeUnit.SECONDS)) {
                build.post {
                    build.print("After ${PATIENCE}s process did not stop")
                    ended(-1)
                }
            }
        }
    }

    /** The agent is gone, and all that ran on it. */
    void lose() {
        kill('KILL')
        cause = new FlowInterruptedException('ABORTED', 'RemovedNodeCause')
    }

    private void kill(String signal) {
        byte[] mark = "JENKINS_SERVER_COOKIE=${cookie}".bytes
        List<String> found = new File('/proc').list().findAll { String name ->
            name.number && contains(new File("/proc/${name}/environ"), mark)
        }
        if (found) { ['kill', "-${signal}".toString(), *found].execute().waitFor() }
    }

    private static boolean contains(File file, byte[] mark) {
        try {
            return new String(file.bytes, 'ISO-8859-1').contains(new String(mark, 'ISO-8859-1'))
        } catch (IOException gone) {
            return false
        }
    }
}
