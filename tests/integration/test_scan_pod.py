"""A session's pod in the laboratory's cluster: what it does, how it can fail, and that it never stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_tools import masking
from pipeline_tools.errors import ConfigError, InfrastructureError, PipelineError
from pipeline_tools.systems.kubernetes import Kubernetes, NotFound, secret_body
from pipeline_tools.systems.pod import EXPIRES, SESSION_LABEL, PullCredentials, Task, pod_session, registry_of
from tests.integration.test_scan import cluster, objects, platform
from tests.wire import Wire

__all__ = ["cluster", "platform"]


@pytest.fixture
def namespace(platform: Any, cluster: Kubernetes) -> Iterator[str]:
    name: str = platform["scan"]["namespace"]
    yield name
    assert objects(cluster, name, "session-") == []


@pytest.fixture
def pull(platform: Any) -> PullCredentials:
    def read(key: str) -> str:
        return Path(platform["artifactory"][key].removeprefix("file:")).read_text().strip()

    image = platform["scan"]["image"]
    return PullCredentials(registry=registry_of(image), username=read("username"), password=read("password"))


def task(platform: Any, pull: PullCredentials, script: str, **more: Any) -> Task:
    settings = {"image": platform["scan"]["image"], "pull": pull, "timeout": 120.0, "memory_request": 2**24, **more}
    return Task(name="session", command=("sh", "-c", script), **settings)


def run(cluster: Kubernetes, namespace: str, what: Task, files: Any = None) -> tuple[int, list[str]]:
    lines: list[str] = []
    with pod_session(cluster, namespace, what, lines.append) as session:
        session.send(Path.cwd(), files or {})
        return session.run(), lines


def test_files_go_in_output_comes_out_and_secrets_are_masked(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials, tmp_path: Path
) -> None:
    masking.register("s3cr3t-of-the-session")
    (tmp_path / "ñandú.txt").write_text("¡hola!\n")
    (tmp_path / "big").write_bytes(b"0123456789abcdef" * 2**18)
    script = 'cat "ñandú.txt" ../reports/r.txt; wc -c < big; echo "token $TOKEN"; id -u; printf last; exit 7'
    what = task(platform, pull, script, secrets={"TOKEN": "s3cr3t-of-the-session"}, env={"LC_ALL": "C.UTF-8"})
    files = {"src/ñandú.txt": tmp_path / "ñandú.txt", "src/big": tmp_path / "big", "reports/r.txt": b"report\n"}
    code, lines = run(cluster, namespace, what, files)
    assert code == 7
    assert lines == ["¡hola!", "report", str(2**22), "token ****", "1000", "last"]


def test_an_image_that_does_not_exist_is_told_at_once(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials
) -> None:
    with pytest.raises(PipelineError, match="cannot be pulled"):
        run(cluster, namespace, task(platform, pull, "true", image=f"{registry_of(platform['scan']['image'])}/no:1"))


def test_a_pod_that_no_node_has_room_for(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials
) -> None:
    what = task(platform, pull, "true", memory_request=2**50, memory=2**50, start_timeout=3.0)
    with pytest.raises(InfrastructureError, match=r"no node takes it: .*Insufficient memory"):
        run(cluster, namespace, what)


def test_a_command_that_needs_more_memory_than_it_may_have(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials
) -> None:
    with pytest.raises(ConfigError, match="used more memory"):
        run(cluster, namespace, task(platform, pull, "exec tail /dev/zero", memory=2**26))


def test_a_command_that_takes_too_long(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials
) -> None:
    with pytest.raises(InfrastructureError, match="longer than it may"):
        run(cluster, namespace, task(platform, pull, "exec sleep 300", timeout=6.0))


def test_an_image_without_the_program(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials
) -> None:
    what = task(platform, pull, "")
    absent = Task(name="session", image=what.image, pull=pull, command=("no-such-program",), memory_request=2**24)
    with pytest.raises(ConfigError, match=r"cannot start.*no-such-program"):
        run(cluster, namespace, absent)


def test_someone_deletes_the_pod(cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials) -> None:
    what = task(platform, pull, "echo begun; exec sleep 300")
    name = ""

    def log(line: str) -> None:
        if line == "begun":
            cluster.core.delete_namespaced_pod(name, namespace, grace_period_seconds=0)

    with pod_session(cluster, namespace, what, log) as session:
        name = session.name
        session.send(Path.cwd(), {})
        with pytest.raises(InfrastructureError, match=r"is gone|someone deleted it"):
            session.run()


def test_a_second_session_sweeps_what_a_killed_one_left_and_nothing_else(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials
) -> None:
    for name, end in (("session-left", "2020-01-01T00:00:00+00:00"), ("session-at-work", "2999-01-01T00:00:00+00:00")):
        about = {"labels": {SESSION_LABEL: name}, "annotations": {EXPIRES: end}}
        cluster.create_secret(namespace, secret_body(name, "Opaque", {"A": "b"}, **about))
    cluster.create_secret(namespace, secret_body("no-session", "Opaque", {"A": "b"}))
    try:
        assert run(cluster, namespace, task(platform, pull, "true"))[0] == 0
        assert objects(cluster, namespace, "session-") == ["session-at-work"]
        assert cluster.read_secret(namespace, "no-session", "A") == "b"
    finally:
        for name in ("session-at-work", "no-session"):
            cluster.core.delete_namespaced_secret(name, namespace)


def test_a_pull_secret_is_made_and_renewed(cluster: Kubernetes, namespace: str) -> None:
    for password in ("first", "second"):
        cluster.ensure_pull_secret(namespace, "pull", "host:1", "user", password)
        assert password in cluster.read_secret(namespace, "pull", ".dockerconfigjson")
    cluster.core.delete_namespaced_secret("pull", namespace)
    with pytest.raises(NotFound):
        cluster.pod(namespace, "absent")


def test_the_cluster_goes_away_in_the_middle(
    cluster: Kubernetes, namespace: str, platform: Any, pull: PullCredentials, tmp_path: Path
) -> None:
    address = cluster.address.removeprefix("https://")
    host, _, port = address.partition(":")
    wire = Wire(host, int(port or 443))
    kubeconfig = yaml.safe_load(Path(platform["kubernetes"]["kubeconfig"]).expanduser().read_text())
    for entry in kubeconfig["clusters"]:
        entry["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig))
    lines: list[str] = []

    def log(line: str) -> None:
        lines.append(line)
        if line == "begun":
            wire.cut()

    through = Kubernetes(kubeconfig=tmp_path / "config")
    what = task(platform, pull, "echo begun; exec sleep 300")
    with pod_session(through, namespace, what, log) as session:
        session.send(Path.cwd(), {})
        with pytest.raises(InfrastructureError, match="does not answer"):
            session.run()
    assert f"{SESSION_LABEL}={session.name}" in lines[-1], "it says what was left and how to delete it"
    assert "kubectl" in lines[-1]
    assert session.name in objects(cluster, namespace, "session-")
    ours = {"label_selector": f"{SESSION_LABEL}={session.name}"}
    cluster.core.delete_collection_namespaced_pod(namespace, grace_period_seconds=0, **ours)
    cluster.core.delete_collection_namespaced_secret(namespace, **ours)
