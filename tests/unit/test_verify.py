"""Which pods of a release are looked at, and how long its address is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from pipeline_tools.errors import DeployError, InfrastructureError
from pipeline_tools.steps import verify
from pipeline_tools.systems.kubernetes import parse_pod

DIGEST, OLD = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
WEB, REDIS = "registry:1/docker-local/web", "docker.io/library/redis"


def pod(
    name: str, image: str = WEB, digest: str = DIGEST, phase: str = "Running", ready: bool = True
) -> dict[str, Any]:
    status = {"name": "c", "imageID": f"{image}@{digest}", "ready": ready, "state": {"running": {}}}
    return {
        "metadata": {"name": name, "namespace": "pre-prod"},
        "spec": {"containers": [{"name": "c", "image": f"{image}:1"}]},
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [] if phase == "Failed" else [status],
        },
    }


def deployment(name: str, image: str, replicas: int) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "c", "image": image}]}}
    return {"metadata": {"name": name}, "spec": {"replicas": replicas, "template": template}}


@dataclass
class World:
    """A cluster and a service; ``answers`` are those that its address gives, the last one for ever."""

    pods_: list[dict[str, Any]] = field(default_factory=lambda: [pod("web-1"), pod("web-2")])
    deployments: list[dict[str, Any]] = field(default_factory=lambda: [deployment("web", f"{WEB}@{DIGEST}", 2)])
    answers: list[tuple[int, str] | None] = field(default_factory=lambda: [(200, "OK")])
    seconds: float = 0.0
    core: Any = field(default_factory=lambda: SimpleNamespace(api_client=None))

    def pods(self, namespace: str, selector: str) -> Sequence[Any]:
        assert (namespace, selector) == ("pre-prod", "app.kubernetes.io/instance=web")
        return [parse_pod(each) for each in self.pods_]

    def call(self, what: str, *_: object, **__: object) -> Any:
        return {"items": self.deployments if "deployments" in what else []}

    def get(self, url: str, timeout: float) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise requests.ConnectionError("refused")
        return SimpleNamespace(url=url, status_code=answer[0], text=answer[1])

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def verify(self) -> Any:
        section = SimpleNamespace(namespace=None, release=None)
        image = {"repository": WEB, "digest": DIGEST}
        context: Any = SimpleNamespace(
            config=SimpleNamespace(name="web", kubernetes=None, section=lambda _: section),
            inputs=verify.Inputs(url="https://web.example.com", lineage=False),
            environment="pre-prod",
            outputs={"image": image, "deploy-pre-prod": {"digest": DIGEST}},
            log=lambda _: None,
        )
        return verify._run(context)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(verify, "connect", lambda _: made)
    monkeypatch.setattr(requests, "get", made.get)
    monkeypatch.setattr(verify, "time", SimpleNamespace(monotonic=lambda: made.seconds, sleep=made.sleep))
    return made


def test_what_is_as_deployed_passes_at_once(world: World) -> None:
    assert world.verify()["ready"] == 2
    assert world.seconds == 0


def test_pods_that_have_ended_and_pods_of_a_subchart_do_not_count(world: World) -> None:
    world.pods_ += [
        pod("web-evicted", phase="Failed", ready=False),
        pod("web-migration", phase="Succeeded", ready=False),
        pod("redis-1", image=REDIS, digest=OLD),
        pod("hook", image=REDIS, digest=OLD, ready=False),
    ]
    world.deployments.append(deployment("redis", f"{REDIS}:7", 1))
    assert world.verify()["ready"] == 2


def test_a_pod_with_an_older_image_of_the_service_counts(world: World) -> None:
    world.pods_.append(pod("web-old", digest=OLD))
    with pytest.raises(DeployError, match=f"do not run the built digest {DIGEST}: web-old"):
        world.verify()


def test_a_release_without_the_image_is_said_clearly(world: World) -> None:
    world.deployments = [deployment("redis", f"{REDIS}:7", 1)]
    with pytest.raises(DeployError, match=f"no Deployment of web in pre-prod wants pods with an image of {WEB}"):
        world.verify()


def test_an_address_that_does_not_lead_to_the_pods_yet_is_waited_for(world: World) -> None:
    world.answers = [None, (404, "default backend"), (503, ""), (200, "OK\n")]
    assert world.verify()["ready"] == 2
    assert world.seconds == 3


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        ((200, "<html>"), DeployError, "Set verify.status_path to a path that answers 200 with the text OK."),
        (None, InfrastructureError, "Is verify.url of this environment the address"),
    ],
)
def test_what_it_answered_last_is_told_with_what_to_do(
    world: World, answer: tuple[int, str] | None, kind: type[DeployError | InfrastructureError], hint: str
) -> None:
    world.answers = [answer]
    with pytest.raises(kind) as raised:
        world.verify()
    assert raised.value.hint.startswith(hint)
    assert 60 <= world.seconds <= 62
