"""What is read out of a cluster's answers, and what its refusals mean."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.systems.kubernetes import (
    Conflict,
    Kubernetes,
    NotFound,
    docker_config,
    parse_pod,
    secret_body,
)

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: one, context: {cluster: c, user: u}}]
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Kubernetes:
    (tmp_path / "config").write_text(KUBECONFIG)
    return Kubernetes(kubeconfig=tmp_path / "config")


def status(message: str) -> str:
    return json.dumps({"kind": "Status", "message": message})


def test_a_running_pod_is_read() -> None:
    data: dict[str, Any] = {
        "metadata": {
            "name": "web-1",
            "uid": "u",
            "labels": {"app": "web"},
            "deletionTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"nodeName": "node"},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "web",
                    "image": "registry/web:1",
                    "imageID": "registry/web@sha256:abc",
                    "ready": True,
                    "restartCount": 2,
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ],
        },
    }
    pod = parse_pod(data)
    (container,) = pod.containers
    assert (pod.name, pod.ready, pod.deleting, pod.ended, pod.unschedulable) == ("web-1", True, True, False, "")
    assert (container.digest, container.state, container.restarts) == ("sha256:abc", "running", 2)
    assert (container.exit_code, container.last_reason) == (137, "OOMKilled")


def test_a_pod_that_no_node_has_seen_is_read() -> None:
    pod = parse_pod({"metadata": {"name": "web-1"}, "status": {"phase": "Pending"}})
    assert pod.containers == ()
    assert not pod.ready


@pytest.mark.parametrize(
    ("code", "message", "kind", "says"),
    [
        (401, "Unauthorized", CredentialError, "does not accept the credentials"),
        (403, 'pods is forbidden: User "ci" cannot create resource "pods"', CredentialError, "permission is lacking"),
        (403, 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', ConfigError, "refuses it"),
        (403, 'pods "x" is forbidden: exceeded quota: q', InfrastructureError, "quota"),
        (404, 'namespaces "x" not found', NotFound, "not found"),
        (409, 'pods "x" already exists', Conflict, "already exists"),
        (422, "Pod is invalid", ConfigError, "refuses it"),
        (500, "etcd is slow", InfrastructureError, "answered 500"),
        (0, "handshake failed", InfrastructureError, "does not answer"),
    ],
)
def test_a_refusal_becomes_an_error_of_the_right_class(
    cluster: Kubernetes, code: int, message: str, kind: type[PipelineError], says: str
) -> None:
    error = cluster.errors("create pod x").explain(code, status(message))
    assert type(error) is kind
    assert error.message.startswith("Could not create pod x: ")
    assert says in error.message
    assert message in (error.details + error.message)


def test_an_answer_that_is_no_json_is_shown_as_it_is(cluster: Kubernetes) -> None:
    assert cluster.errors("x").explain(502, "<html>bad gateway</html>").details == "<html>bad gateway</html>"


def test_an_interrupt_inside_of_the_client_stays_one(cluster: Kubernetes) -> None:
    from kubernetes import client

    def interrupted() -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise client.ApiException(status=0)  # noqa: B904 — as the client's stream() does it

    with pytest.raises(KeyboardInterrupt), cluster.errors("x"):
        interrupted()


def test_a_kubeconfig_that_is_not_there_or_lacks_the_context(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no kubeconfig"):
        Kubernetes(kubeconfig=tmp_path / "absent")
    (tmp_path / "config").write_text(KUBECONFIG)
    with pytest.raises(ConfigError, match="two"):
        Kubernetes(kubeconfig=tmp_path / "config", context="two")


def test_the_content_of_a_pull_secret() -> None:
    auth = json.loads(docker_config("host:1", "user", "pass"))["auths"]["host:1"]
    assert base64.b64decode(auth["auth"]) == b"user:pass"
    assert (auth["username"], auth["password"]) == ("user", "pass")


def test_our_secrets_are_labelled() -> None:
    body = secret_body("s", "Opaque", {"A": "b"}, labels={"more": "1"})
    assert body["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "pipeline-tools", "more": "1"}
    assert body["stringData"] == {"A": "b"}
