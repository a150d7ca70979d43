package jenkins

import groovy.json.JsonSlurperClassic
import java.nio.file.Files

/**
 * A repository with a service in `service/`, and builds of it: the real pipeline-tools, whose steps do what a test says
 * (`stubs/`), on a platform that is only named.
 */
class Workspace {
    static final File CHECKOUT = new File('../..').canonicalFile
    static final String DIGEST = "sha256:${'d' * 64}"
    static final Map CREDENTIALS = [
        'artifactory': [type: 'username-password', username: 'robot', password: 'canary-Artif4ctory-pa55'],
        'sonarqube-token': [type: 'secret-text', secret: 'canary-s0nar-t0ken'],
        'kubeconfig': [type: 'file', content: 'canary: kub3config-content'],
    ]
    static final String PLATFORM = '''
artifactory: {url: "https://a.example.com/artifactory", docker: a.example.com/docker, helm: "oci://a.example.com/helm"}
sonarqube: {url: "https://sonar.example.com"}
run: {attempts: 1}
'''
    static final String SERVICE = '''
name: x
environments:
  test: {verify: {url: "https://test.example.com"}}
  prod: {verify: {url: "https://prod.example.com"}}
'''
    private static final Map<String, String> DO = [
        test: '''
(ctx.out / "junit.xml").write_text('<testsuites><testsuite tests="3" failures="0" errors="0"/></testsuites>')
(ctx.out / "coverage.xml").write_text('<coverage line-rate="0.875"/>')
result = {"tests": 3, "junit": ctx.relative(ctx.out / "junit.xml"), "coverage": ctx.relative(ctx.out / "coverage.xml")}
''',
        scan: 'result = {"gate": "OK", "dashboard": "https://sonar.example.com/dashboard?id=x"}',
        image: """
import hashlib, os
secret = os.environ["ARTIFACTORY_PASSWORD"].encode()
result = {"repository": "a.example.com/docker/x", "digest": "${DIGEST}", "secret": hashlib.sha256(secret).hexdigest()}
""",
        verify: 'result = {"url": f"https://{ctx.environment}.example.com"}',
    ]

    final File root = Files.createTempDirectory('jenkins').toFile()
    private final File repository = new File(root, 'repository')

    Workspace(Map<String, String> files = [:]) {
        Map all = ['service/pipeline.yml': SERVICE] + DO.collectEntries { ["service/do/${it.key}.py".toString(), it.value] }
        repository.mkdirs()
        git('init', '--quiet', '--initial-branch=main')
        commit(all + files)
    }

    void commit(Map<String, String> files) {
        files.each { name, text ->
            File file = new File(repository, name)
            file.parentFile.mkdirs()
            file.text = text
        }
        git('add', '.')
        git('-c', 'user.name=t', '-c', 'user.email=t@example.invalid', 'commit', '--quiet', '--message', 'change')
    }

    private String git(String... words) {
        Process process = new ProcessBuilder(['git', *words]).directory(repository).redirectErrorStream(true).start()
        String said = process.inputStream.text
        assert process.waitFor() == 0: said
        return said.trim()
    }

    /** A build that has not begun; its Jenkinsfile is run with `run`. */
    Build build(Map settings = [:]) {
        File platform = new File(root, 'platform.yml')
        platform.text = PLATFORM + (settings.remove('platform') ?: '')
        Map agent = [PATH: "${CHECKOUT}/.venv/bin:${System.getenv('PATH')}".toString(), PYTHONDONTWRITEBYTECODE: '1',
                     PYTHONPATH: "${CHECKOUT}/tests/groovy/stubs".toString(), PIPELINE_TOOLS_PLATFORM: platform.path]
        Build build = new Build([library: CHECKOUT, home: new File(root, 'jenkins'), credentials: CREDENTIALS,
                                 scm: new Scm(url: repository.path, commit: git('rev-parse', 'HEAD'))] + settings)
        build.agentEnv = agent + build.agentEnv
        return build
    }

    /** A file of the run that the latest build made, in the workspace of an agent that is no pod. */
    Object record(String name) {
        return new JsonSlurperClassic().parse(new File(root, "jenkins/workspace/service/.pipeline/latest/${name}"))
    }

    List<Map> events() {
        File file = new File(root, 'jenkins/workspace/service/.pipeline/latest/events.jsonl')
        return file.readLines().collect { (Map) new JsonSlurperClassic().parseText(it) }
    }

    void close() { root.deleteDir() }
}
