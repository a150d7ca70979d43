package jenkins

import com.cloudbees.groovy.cps.SerializableScript
import org.codehaus.groovy.runtime.InvokerHelper

/** What Jenkinsfiles and `vars/` extend: names that are nowhere else are steps, variables of the library, or globals. */
abstract class JenkinsScript extends SerializableScript {

    @Override
    Object invokeMethod(String name, Object args) {
        Object[] given = args instanceof Object[] ? args : [args] as Object[]
        Script variable = Build.current.variable(name)
        if (variable != null) {
            return InvokerHelper.getMetaClass(variable).invokeMethod(variable, 'call', given)
        }
        return Build.current.dsl(name, given)
    }

    @Override
    Object getProperty(String name) {
        Build build = Build.current
        if (name in ['env', 'params', 'currentBuild', 'scm']) { return build."${name}" }
        Script variable = build.variable(name)
        if (variable != null) { return variable }
        Map environment = build.context().env
        return environment.containsKey(name) ? environment[name] : super.getProperty(name)
    }
}
