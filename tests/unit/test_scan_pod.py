"""The pod of a session: its manifest, and what is wrong with it told apart."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError
from pipeline_tools.systems.kubernetes import parse_pod
from pipeline_tools.systems.pod import EXPIRES, PullCredentials, Task, _packed, expired, manifest
from pipeline_tools.systems.pod_trouble import diagnose, error_of


def pod(phase: str = "Pending", **status: Any) -> Any:
    return parse_pod({"metadata": {"name": "p"}, "status": {"phase": phase, **status}})


def container(state: str, **about: Any) -> dict[str, Any]:
    return {"name": "run", "image": "host/scanner:1", "state": {state: about}}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}


def disrupted(reason: str, message: str) -> dict[str, Any]:
    return {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]}


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (disrupted("EvictionByEvictionAPI", "Eviction API: evicting"), "evicted", "Eviction API"),
        (disrupted("PreemptionByScheduler", "a pod with a higher priority"), "evicted", "higher priority"),
        (disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"), "node", "NoExecute"),
        (disrupted("DeletionByPodGC", "PodGC: node no longer exists"), "node", "no longer exists"),
        ({"conditions": [UNSCHEDULABLE]}, "unschedulable", "Insufficient memory"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "evicted", "low on memory"),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, "deadline", "longer"),
        (
            {"initContainerStatuses": [container("waiting", reason="ImagePullBackOff", message="not found")]},
            "image",
            "host/scanner:1 cannot be pulled: not found",
        ),
        (
            {"phase": "Failed", "containerStatuses": [container("terminated", reason="OOMKilled", exitCode=137)]},
            "memory",
            "more memory",
        ),
        (
            {"phase": "Failed", "containerStatuses": [container("terminated", reason="StartError", message="no sh")]},
            "start",
            "no sh",
        ),
        ({"phase": "Failed", "message": "node shut down"}, "failed", "node shut down"),
    ],
)
def test_what_is_wrong_is_told_apart(status: dict[str, Any], kind: str, says: str) -> None:
    trouble = diagnose(pod(**status))
    assert trouble is not None
    assert trouble.kind == kind
    assert says in trouble.message


def test_only_what_another_pod_may_do_is_tried_again() -> None:
    reasons = {
        "evicted": {"phase": "Failed", "reason": "Evicted"},
        "node": disrupted("DeletionByTaintManager", ""),
        "unschedulable": {"conditions": [UNSCHEDULABLE]},
        "registry": {"initContainerStatuses": [container("waiting", reason="ErrImagePull", message="i/o timeout")]},
        "memory": {"containerStatuses": [container("terminated", reason="OOMKilled", exitCode=137)]},
        "deadline": {"phase": "Failed", "reason": "DeadlineExceeded"},
    }
    troubles = [diagnose(pod(**status)) for status in reasons.values()]
    found = {trouble.kind: error_of(trouble, "p").transient for trouble in troubles if trouble}
    again = ("evicted", "node", "unschedulable", "registry")
    assert found == {kind: kind in again for kind in reasons}


def test_a_pod_that_someone_deletes_has_not_done_its_work() -> None:
    about = {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}
    trouble = diagnose(parse_pod({"metadata": about, "status": {"phase": "Running"}}))
    assert trouble is not None
    assert (trouble.kind, error_of(trouble, "p").transient) == ("deleted", True)


def test_an_exit_code_of_the_command_is_no_trouble() -> None:
    assert diagnose(pod("Failed", containerStatuses=[container("terminated", reason="Error", exitCode=3)])) is None
    assert diagnose(pod("Running", containerStatuses=[container("running")])) is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("failed to authorize: 401 Unauthorized", CredentialError),
        ("manifest for x: not found", ConfigError),
        ("dial tcp: i/o timeout", InfrastructureError),
    ],
)
def test_an_image_that_cannot_be_pulled_is_of_the_class_of_its_cause(said: str, kind: type[Exception]) -> None:
    waiting = container("waiting", reason="ImagePullBackOff", message=said)
    trouble = diagnose(pod(initContainerStatuses=[waiting]))
    assert trouble is not None
    assert isinstance(error_of(trouble, "p"), kind)


def test_the_first_failed_pull_may_still_come_right() -> None:
    trouble = diagnose(pod(initContainerStatuses=[container("waiting", reason="ErrImagePull")]))
    assert trouble is not None
    assert trouble.transient


def test_the_manifest_is_restricted_and_has_no_secret() -> None:
    task = Task(
        name="t",
        image="i",
        command=("c",),
        env={"A": "b"},
        secrets={"TOKEN": "s3cr3t-value"},
        pull=PullCredentials(registry="h", username="u", password="s3cr3t-password"),
        timeout=60,
    )
    body = manifest("t-1", task, {"labels": {}})
    assert "s3cr3t" not in json.dumps(body)
    assert "s3cr3t" not in repr(task)
    spec = body["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["activeDeadlineSeconds"] == 60
    assert spec["imagePullSecrets"] == [{"name": "t-1-pull"}]
    assert "env" not in spec["initContainers"][0], "the container that receives files has no token"
    for each in (*spec["initContainers"], *spec["containers"]):
        assert each["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_only_what_is_past_its_own_time_is_swept() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert expired({"annotations": {EXPIRES: "2025-12-31T23:00:00+00:00"}}, now)
    assert not expired({"annotations": {EXPIRES: "2026-01-01T01:00:00+00:00"}}, now)
    assert not expired({"annotations": {EXPIRES: "tomorrow"}}, now)
    assert not expired({}, now)


def test_names_that_are_not_ascii_or_long_need_no_header_that_a_small_tar_leaves_out(tmp_path: Path) -> None:
    long = f"src/{'carpeta/' * 30}fontanería.py"
    (tmp_path / "a").write_text("a")
    with _packed(tmp_path, {"src/fontanería.py": b"x", long: Path("a")}) as packed:
        data = packed.read()
        assert "src/fontanería.py".encode() in data
        assert b"PaxHeader" not in data
        packed.seek(0)
        with tarfile.open(fileobj=packed) as archive:
            assert archive.getnames() == ["src/fontanería.py", long]
