"""The tools' own messages, as they were printed, and the class of error that each must become."""

from __future__ import annotations

import pytest

from pipeline_tools.errors import ConfigError, CredentialError, DeployError, InfrastructureError, PipelineError
from pipeline_tools.failures import TABLE, Lasting, explained, known, of_status

MESSAGES = [
    # docker 20.10
    ("docker", "denied: User reader is not permitted to deploy", CredentialError),
    ("docker", "no basic auth credentials", CredentialError),
    (
        "docker",
        "push access denied, repository does not exist or may require authorization: server message: "
        "insufficient_scope: authorization failed",
        CredentialError,
    ),
    ("docker", "failed to solve: unknown: Forbidden", CredentialError),
    ("docker", "unexpected status from POST request to https://r/v2/x/blobs/uploads/: 403 ", CredentialError),
    ("docker", "https://r/v2/x: 503 Service Temporarily Unavailable", InfrastructureError),
    (
        "docker",
        "login attempt to http://127.0.0.1:20081/v2/ failed with status: 401 Unauthorized",
        CredentialError,
    ),
    ("docker", "manifest for 127.0.0.1:20081/docker-local/nope:1 not found: manifest unknown", ConfigError),
    ("docker", "dockerfile parse error line 2: unknown instruction: FOO", ConfigError),
    ("docker", "The command '/bin/sh -c exit 7' returned a non-zero code: 7", ConfigError),
    ("docker", "COPY failed: file not found in build context or excluded by .dockerignore", ConfigError),
    ("docker", 'Get "http://127.0.0.1:9/v2/": dial tcp 127.0.0.1:9: connect: connection refused', InfrastructureError),
    ("docker", "dial tcp: lookup nohost.invalid on 10.0.2.3:53: no such host", InfrastructureError),
    ("docker", "write /var/lib/docker/tmp/x: no space left on device", Lasting),
    ("docker", "Get https://reg/v2/: x509: certificate signed by unknown authority", Lasting),
    ("docker", "http: server gave HTTP response to HTTPS client", Lasting),
    ("docker", "received unexpected HTTP status: 503 Service Unavailable", InfrastructureError),
    (
        "docker",
        "E: Could not open lock file /var/lib/apt/lists/lock - open (13: Permission denied)\n"
        "The command '/bin/sh -c apt-get update' returned a non-zero code: 100",
        ConfigError,
    ),
    (
        "docker",
        "curl: (22) The requested URL returned error: 403 Forbidden\n"
        "The command '/bin/sh -c curl -f https://example.com' returned a non-zero code: 22",
        ConfigError,
    ),
    ("docker", "unexpected status from HEAD request to https://r/v2/x/blobs/sha256:00: 403 Forbidden", CredentialError),
    (
        "docker",
        "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
        CredentialError,
    ),
    # helm 3.22
    ("helm", 'Error: INSTALLATION FAILED: create: failed to create: namespaces "nope" not found', ConfigError),
    ("helm", "UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", InfrastructureError),
    (
        "helm",
        'Kubernetes cluster unreachable: Get "https://127.0.0.1:9/version": dial tcp: connect: connection refused',
        InfrastructureError,
    ),
    ("helm", "Kubernetes cluster unreachable: unable to load root certificates: unable to parse", ConfigError),
    ("helm", "Kubernetes cluster unreachable: stat /nope: no such file or directory", ConfigError),
    ("helm", 'Kubernetes cluster unreachable: context "nope" does not exist', ConfigError),
    (
        "helm",
        'list: failed to list: secrets is forbidden: User "someone" cannot list resource "secrets"',
        CredentialError,
    ),
    ("helm", 'pods "x" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=1, limited: cpu=1', Lasting),
    (
        "helm",
        'template: ch/templates/bad.yaml:1:13: executing "ch/templates/bad.yaml" at <.Values.x.y>: nil pointer',
        ConfigError,
    ),
    ("helm", "UPGRADE FAILED: timed out waiting for the condition", DeployError),
    (
        "helm registry",
        'HEAD "http://h/v2/helm-local/ch/manifests/sha256:00": basic credential not found',
        CredentialError,
    ),
    ("helm registry", 'GET "http://h/v2/": response status code 401: unauthorized: Bad credentials', CredentialError),
    (
        "helm registry",
        'failed to perform "Exists" on destination: dial tcp: connect: connection refused',
        InfrastructureError,
    ),
    # git 2.39
    ("git", "fatal: could not read Username for 'http://127.0.0.1:20018': terminal prompts disabled", CredentialError),
    ("git", "fatal: Authentication failed for 'http://127.0.0.1:20018/git/service.git/'", CredentialError),
    ("git", "fatal: unable to access 'http://127.0.0.1:9/x.git/': Couldn't connect to server", InfrastructureError),
    ("git", "fatal: unable to access 'http://nohost.invalid/x.git/': Could not resolve host", InfrastructureError),
    ("git", "ssh: connect to host 127.0.0.1 port 22: Connection refused", InfrastructureError),
    ("git", "ssh: Could not resolve hostname nohost.invalid: Name or service not known", InfrastructureError),
    ("git", " ! [rejected]        HEAD -> master (non-fast-forward)", ConfigError),
    ("git", "error: src refspec nope does not match any", ConfigError),
    ("git", "fatal: unable to access 'https://h/x.git/': The requested URL returned error: 403", CredentialError),
    (
        "git",
        "remote: error: GH006: Protected branch update failed for refs/heads/master.\n"
        " ! [remote rejected] HEAD -> master (protected branch hook declined)",
        CredentialError,
    ),
    ("git", " ! [remote rejected] HEAD -> master (pre-receive hook declined)", CredentialError),
    (
        "git",
        "remote: GitLab: You are not allowed to push code to protected branches on this project.",
        CredentialError,
    ),
    (
        "git",
        "Host key verification failed.\nfatal: Could not read from remote repository.",
        CredentialError,
    ),
    ("git", "remote: Repository not found.\nfatal: repository 'https://h/x.git/' not found", ConfigError),
    ("git", "fatal: repository 'http://127.0.0.1:20018/git/nope.git/' not found", ConfigError),
    ("git", "ERROR: Repository not found.\nfatal: Could not read from remote repository.", ConfigError),
    ("git", "warning: x\nfatal: Remote branch nope not found in upstream origin", ConfigError),
    ("git", "error: cannot run ssh: No such file or directory\nfatal: unable to fork", ConfigError),
    ("git", "fatal: early EOF\nfatal: fetch-pack: invalid index-pack output", InfrastructureError),
    ("git", "fatal: unable to access 'https://h/x.git/': The requested URL returned error: 502", InfrastructureError),
    # pip 26
    ("pip", "ERROR: No matching distribution found for clasificador-modelo==9.0.0", ConfigError),
    (
        "pip",
        "WARNING: Retrying (Retry(total=0)) after connection broken by NewConnectionError('Connection refused')\n"
        "ERROR: No matching distribution found for flask",
        InfrastructureError,
    ),
    ("pip", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", ConfigError),
    # sonar-scanner 8.1
    ("scanner", "ERROR Not authorized. Please check the user token in the property 'sonar.token'", CredentialError),
    ("scanner", "ERROR You're not authorized to analyze this project", CredentialError),
    ("scanner", "ERROR Failed to query server version: Connection refused", InfrastructureError),
    ("scanner", "ERROR Error status returned by url [https://s/api/v2/analysis/version]: 401", CredentialError),
    ("scanner", "ERROR java.lang.OutOfMemoryError: Java heap space", ConfigError),
    # the user's own
    (
        "program",
        "urllib3.exceptions.NewConnectionError: Failed to establish a new connection: [Errno 111] Connection refused",
        InfrastructureError,
    ),
    ("program", "urllib.error.HTTPError: HTTP Error 503: Service Unavailable", InfrastructureError),
    (
        "program",
        "requests.exceptions.HTTPError: 502 Server Error: Bad Gateway for url: https://example.com/data",
        InfrastructureError,
    ),
]
UNKNOWN = [
    ("program", "epoch 500 loss 0.12"),
    ("program", "error: 500 rows have no label"),
    ("program", "SyntaxError: unexpected EOF while parsing"),
    ("program", "EOFError: Ran out of input"),
    ("program", "the search timed out, taking the best so far"),
    ("program", "warning: unreachable code in train.py"),
    ("docker", "Downloading flask-3.0.whl (401 kB)"),
    ("docker", "pip: PermissionError: [Errno 13] Permission denied: '/opt'"),
    ("docker", "epoch 500 of 502"),
    ("docker", "403 packages are looking for funding"),
    ("git", "remote: Counting objects: 403, done."),
    ("scanner", "ERROR Parsing failed in 401 files"),
]


@pytest.mark.parametrize(("tool", "said", "kind"), MESSAGES)
def test_a_message_becomes_an_error_of_its_class_with_a_hint(tool: str, said: str, kind: type[PipelineError]) -> None:
    error = explained(tool, said, "It did not work.")
    assert type(error) is kind
    assert error.hint
    assert error.details == said


def test_every_line_of_the_table_is_tested() -> None:
    used = {known(tool, said) for tool, said, _ in MESSAGES}
    assert [entry.says for entry in TABLE if entry not in used] == []


@pytest.mark.parametrize(("tool", "said"), UNKNOWN)
def test_ordinary_words_are_no_message_of_the_table(tool: str, said: str) -> None:
    assert known(tool, said) is None


def test_what_is_not_known_keeps_the_callers_words() -> None:
    error = explained("git", "something new", "git could not push.", otherwise=DeployError, hint="Look at the log.")
    assert (type(error), error.message, error.hint) == (DeployError, "git could not push.", "Look at the log.")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, ConfigError),
        (401, CredentialError),
        (403, CredentialError),
        (404, ConfigError),
        (408, InfrastructureError),
        (409, ConfigError),
        (429, InfrastructureError),
        (500, InfrastructureError),
        (503, InfrastructureError),
    ],
)
def test_a_status_has_its_class(code: int, kind: type[PipelineError]) -> None:
    assert of_status(code) is kind
