"""Whose deployment is put back, and whose is not: on a helm that keeps its revisions here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline_tools.errors import (
    ConfigError,
    CredentialError,
    DeployError,
    InfrastructureError,
    PipelineError,
)
from pipeline_tools.process import ProcessFailed, Result
from pipeline_tools.steps import deploy
from pipeline_tools.systems import helm, release
from pipeline_tools.systems.kubernetes import parse_pod

NOT_READY = "Error: UPGRADE FAILED: context deadline exceeded"
DENIED = CredentialError("Could not list events in test: permission is lacking.", details="User ci cannot list")


def failed(said: str) -> ProcessFailed:
    return ProcessFailed(Result(argv=("helm", "upgrade"), exit_code=1, stdout="", stderr=said, seconds=1.0))


@dataclass
class Helm:
    """Helm and its cluster; ``fails`` is what an upgrade says, ``begins`` whether it has made a revision by then."""

    revisions: list[helm.Release] = field(default_factory=list)
    fails: BaseException | None = None
    begins: bool = True
    gone: bool = False
    did: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def add(self, status: str, age: float = 0.0) -> None:
        made = helm.Release(
            name="web",
            namespace="pre-prod",
            revision=len(self.revisions) + 1,
            status=status,
            chart="web-1.0.0",
            description="",
            updated=datetime.now(UTC) - timedelta(seconds=age),
        )
        self.revisions.append(made)

    def history(self, cluster: Any, name: str, namespace: str) -> list[helm.Release]:
        if self.gone:
            raise InfrastructureError("helm cannot ask the cluster for the release.")
        return list(self.revisions)

    def upgrade(self, cluster: Any, **_: Any) -> None:
        self.did.append("upgrade")
        if self.fails is None:
            self.add("deployed")
            return
        if self.begins:
            self.add("failed")
        self.meanwhile()
        raise self.fails

    def rollback(self, cluster: Any, name: str, namespace: str, revision: int, *, log: Any) -> None:
        self.did.append(f"rollback to {revision}")
        self.add("deployed")

    def uninstall(self, cluster: Any, name: str, namespace: str, *, log: Any) -> None:
        self.did.append("uninstall")
        self.revisions.clear()


class World(Helm):
    """With a step that deploys."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.context = context(folder / "runs/1/steps/deploy-pre-prod")

    def deploy(self) -> Any:
        return deploy._run(self.context)

    def error(self) -> PipelineError:
        with pytest.raises(PipelineError) as raised:
            self.deploy()
        return raised.value


def context(out: Path) -> Any:
    out.mkdir(parents=True)
    section = SimpleNamespace(namespace=None, release=None)
    config = SimpleNamespace(
        name="web",
        kubernetes=None,
        section=lambda _: section,
        artifactory=SimpleNamespace(docker="registry:1/docker-local", username=None, password=None),
    )
    image = {"repository": "registry:1/docker-local/web", "digest": "sha256:1", "tag": "1", "labels": {}}
    return SimpleNamespace(
        project=out,
        config=config,
        inputs=deploy.Inputs(),
        environment="pre-prod",
        out=out,
        outputs={"image": image, "chart": {"name": "web", "version": "1.0.0"}},
        log=lambda _: None,
        version="1.0.0",
        run_id="1",
    )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    for name in ("history", "upgrade", "rollback", "uninstall"):
        monkeypatch.setattr(helm, name, getattr(made, name))
    monkeypatch.setattr(helm, "pull", lambda *_, **__: Path("web.tgz"))
    monkeypatch.setattr(deploy, "connect", lambda _: SimpleNamespace(ensure_pull_secret=lambda *_: None))
    monkeypatch.setattr("pipeline_tools.secrets.resolve", lambda *_, **__: "x")
    monkeypatch.setattr(deploy, "diagnose", lambda *_: ["pod web-1: crashes"])
    return made


def test_what_does_not_become_ready_is_put_back_to_what_ran(world: World) -> None:
    world.add("superseded", 900)
    world.add("deployed", 600)
    world.fails = failed(NOT_READY)
    error = world.error()
    assert type(error) is DeployError
    assert "pre-prod was put back to revision 2 of web" in error.message
    assert "pod web-1: crashes" in error.details
    assert world.did == ["upgrade", "rollback to 2"]


@pytest.mark.parametrize("trouble", [DENIED, InfrastructureError("The pods' node is gone.")])
def test_a_release_is_put_back_also_when_its_pods_may_not_be_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch, trouble: PipelineError
) -> None:
    def refuse(*_: object) -> list[str]:
        raise trouble

    monkeypatch.setattr(deploy, "diagnose", refuse)
    world.add("deployed", 600)
    world.fails = failed(NOT_READY)
    error = world.error()
    assert type(error) is DeployError
    assert world.did == ["upgrade", "rollback to 1"]
    assert trouble.message in error.details


def test_a_first_installation_is_removed(world: World) -> None:
    world.fails = failed("Error: context deadline exceeded")
    assert "it was removed" in world.error().message
    assert world.did == ["upgrade", "uninstall"]


def test_a_first_installation_of_someone_else_is_not_removed_even_if_it_failed(world: World) -> None:
    world.add("failed", 600)
    world.fails = failed(NOT_READY)
    assert "put back to revision 1" in world.error().message
    assert world.did == ["upgrade", "rollback to 1"]


@pytest.mark.parametrize(
    "said",
    [
        "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress",
        "Error: release: already exists",
        "Error: cannot re-use a name that is still in use",
    ],
)
def test_what_someone_else_begins_in_the_same_moment_is_left_alone(world: World, said: str) -> None:
    world.add("deployed", 600)
    world.fails, world.begins = failed(said), False
    world.meanwhile = lambda: world.add("pending-upgrade")
    error = world.error()
    assert type(error) is InfrastructureError
    assert "Someone else is deploying web to pre-prod" in error.message
    assert world.did == ["upgrade"]
    assert "Someone is deploying" in world.error().message, "nor by the next attempt"
    assert world.did == ["upgrade"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error: values don't meet the specifications of the schema(s) in the following chart(s)", ConfigError),
        ('Error: UPGRADE FAILED: deployments.apps is forbidden: User "ci" cannot list', CredentialError),
        ("Error: UPGRADE FAILED: Unable to continue with update: Service exists", DeployError),
        ("Error: Kubernetes cluster unreachable: connection refused", InfrastructureError),
    ],
)
def test_where_helm_began_nothing_nothing_is_put_back(world: World, said: str, kind: type[PipelineError]) -> None:
    for before in ([], ["deployed"], ["deployed", "failed"]):
        world.revisions, world.did = [], []
        for status in before:
            world.add(status, 600)
        world.fails, world.begins = failed(said), False
        error = world.error()
        assert type(error) is kind
        assert "nothing was changed there" in error.message
        assert said in error.details
        assert world.did == ["upgrade"]


def test_helms_own_words_decide_about_the_class_of_what_was_put_back(world: World) -> None:
    world.add("deployed", 600)
    world.fails = failed('Error: UPGRADE FAILED: services is forbidden: User "ci" cannot create resource "services"')
    error = world.error()
    assert type(error) is CredentialError
    assert "put back to revision 1" in error.message
    assert world.did == ["upgrade", "rollback to 1"]


def test_a_deployment_that_is_at_work_is_left_alone_and_told_with_its_time(world: World) -> None:
    world.add("deployed", 6000)
    world.add("pending-upgrade", 60)
    error = world.error()
    assert type(error) is InfrastructureError
    assert error.transient
    assert "revision 2 (web-1.0.0) is pending-upgrade since 20" in error.message
    assert world.did == []


@pytest.mark.parametrize("status", ["pending-upgrade", "pending-rollback"])
def test_one_that_is_older_than_helm_may_take_is_put_back(world: World, status: str) -> None:
    world.add("deployed", 6000)
    world.add(status, 5 * 60 + helm.TIMEOUT + 1)
    world.deploy()
    assert world.did == ["rollback to 1", "upgrade"]


def test_an_old_first_installation_that_was_cut_off_is_removed(world: World) -> None:
    world.add("pending-install", 6000)
    world.deploy()
    assert world.did == ["uninstall", "upgrade"]


def test_what_our_own_helm_left_when_the_cluster_went_away_is_put_back_at_once(world: World, tmp_path: Path) -> None:
    def cut() -> None:
        world.gone = True

    world.add("deployed", 600)
    world.fails, world.meanwhile = failed("Error: UPGRADE FAILED: connection refused"), cut
    error = world.error()
    assert "The cluster stopped answering" in error.message
    assert world.did == ["upgrade"]
    world.gone, world.fails = False, None
    world.revisions[-1] = replace(world.revisions[-1], status="pending-upgrade")
    world.context = context(tmp_path / "runs/2/steps/deploy-pre-prod")
    world.deploy()
    assert world.did == ["upgrade", "rollback to 1", "upgrade"]


def test_what_a_process_of_ours_that_was_killed_left_is_put_back_at_once(world: World) -> None:
    note, kept = world.context.out / deploy.CUT_OFF, list[str]()
    world.add("deployed", 600)
    world.fails, world.meanwhile = KeyboardInterrupt(), lambda: kept.append(note.read_text())
    with pytest.raises(KeyboardInterrupt):
        world.deploy()
    # as if nothing of it had run after helm had begun
    note.write_text(kept[0])
    world.revisions[1:] = [replace(world.revisions[1], status="pending-upgrade")]
    world.fails, world.did = None, []
    world.deploy()
    assert world.did == ["rollback to 1", "upgrade"]
    assert not note.exists()


def test_what_someone_began_after_our_own_was_cut_off_is_left_alone(world: World) -> None:
    def cut() -> None:
        world.gone = True

    world.add("deployed", 600)
    world.fails, world.begins, world.meanwhile = failed("Error: connection refused"), False, cut
    world.error()
    world.gone, world.fails = False, None
    world.add("pending-upgrade")
    assert "Someone is deploying" in world.error().message
    assert world.did == ["upgrade"]


@pytest.mark.parametrize("begins", [True, False])
def test_an_interrupt_puts_back_what_was_begun(world: World, begins: bool) -> None:
    world.add("deployed", 600)
    world.fails, world.begins = KeyboardInterrupt(), begins
    with pytest.raises(KeyboardInterrupt):
        world.deploy()
    assert world.did == ["upgrade", *["rollback to 1"] * begins]


def test_who_may_not_read_events_or_logs_sees_the_state_of_the_pods() -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise DENIED

    pod = parse_pod(
        {
            "metadata": {"name": "web-1", "namespace": "test"},
            "status": {
                "phase": "Running",
                "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            },
        }
    )
    cluster: Any = SimpleNamespace(pods=lambda *_: [pod], events=refuse, log_tail=refuse)
    assert release.diagnose(cluster, "test", "web") == [
        "pod web-1: web, waiting, CrashLoopBackOff",
        *[f"  {DENIED.message}"] * 2,
    ]
