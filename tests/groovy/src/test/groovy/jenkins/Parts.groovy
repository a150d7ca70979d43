package jenkins

import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.Env
import com.cloudbees.groovy.cps.impl.CallSiteBlock
import com.cloudbees.groovy.cps.sandbox.DefaultInvoker
import com.cloudbees.groovy.cps.sandbox.Invoker
import com.cloudbees.groovy.cps.sandbox.Trusted

/** A call of a step, on its way from the program to the controller. */
class Request implements Serializable {
    String step
    Map args
    Closure body
}

/** A step with a body that is at work: what it needs to go on when the body has ended. */
class Block implements Serializable {
    String step
    Map args
    Closure body
    Map state = [:]
}

/** A program that is at work: the script itself (no block), or the body of a block; `context` is what it sees. */
class Frame implements Serializable {
    Continuable program
    Block block
    Map context
}

/** A line of execution: the script's own, or a branch of `parallel`. */
class CpsThread implements Serializable {
    int id
    String name
    List<Frame> frames = []
    Request pending
    /** Of a branch: the thread that waits for it. */
    Integer parent
    /** What it is to be stopped with when it next calls a step. */
    Throwable stopped
}

/** What a symbol such as `string(…)` makes: Jenkins instantiates it when the step that gets it runs. */
class Symbol implements Serializable {
    String name
    Map args
}

/** `scm`: the repository and commit that are built. */
class Scm implements Serializable {
    String url
    String commit
}

/** `currentBuild`, as far as it is used: a result can only get worse. */
class CurrentBuild implements Serializable {
    static final List<String> ORDER = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED']

    int getNumber() { return Build.current.number }

    String getDisplayName() { return Build.current.displayName }

    void setDisplayName(String name) { Build.current.displayName = name }

    String getDescription() { return Build.current.description }

    void setDescription(String text) { Build.current.description = text }

    String getResult() { return Build.current.result }

    String getCurrentResult() { return Build.current.result ?: 'SUCCESS' }

    void setResult(String result) {
        assert result in ORDER
        if (ORDER.indexOf(result) > ORDER.indexOf(currentResult)) { Build.current.result = result }
    }
}

/** `env`: the variables of where the program is. */
class Variables implements Serializable {
    Object getProperty(String name) { return Build.current.context().env[name] }
}

/** Writes down what programs call on objects that are not theirs, for the check against the sandbox's whitelists. */
class Recorder extends DefaultInvoker {
    static final Set<String> CALLS = new TreeSet<String>()

    @Override
    Object methodCall(Object receiver, String method, Object[] args) throws Throwable {
        note(receiver, method, args)
        return super.methodCall(receiver, method, args)
    }

    @Override
    Object getProperty(Object lhs, String name) throws Throwable {
        if (!(lhs instanceof Map || lhs instanceof Script || lhs instanceof Collection)) { note(lhs, "get ${name}", null) }
        return super.getProperty(lhs, name)
    }

    @Override
    Object constructorCall(Class lhs, Object[] args) throws Throwable {
        note(lhs, 'new', args)
        return super.constructorCall(lhs, args)
    }

    /** What the interpreter itself calls, in Groovy's methods that take closures, is trusted in the sandbox as well. */
    @Override
    Invoker contextualize(CallSiteBlock tags) {
        return tags.tags.contains(Trusted.INSTANCE) ? new DefaultInvoker() : this
    }

    private static void note(Object receiver, String method, Object[] args) {
        if (receiver instanceof Script || receiver instanceof Closure || receiver == null) { return }
        Class type = receiver instanceof Class ? receiver : receiver.getClass()
        // casts, comparisons and texts with values in them are the interpreter's own
        if (type.name in ['org.codehaus.groovy.runtime.ScriptBytecodeAdapter'] || method == 'new') { return }
        String given = args == null ? '' : "(${args.collect { it == null ? 'null' : it.getClass().simpleName }.join(', ')})"
        CALLS << "${type.name} ${method}${given}".toString()
    }
}
