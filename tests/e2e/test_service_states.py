"""The bundled service as pods in every state: what the probes said, what the balancer did, who was lost.

`benchmarks/service/pods.py` brings the states about, and prints docs/service-states.md's table of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from benchmarks.service import pods
from benchmarks.service.pods import Observation
from pipeline_tools.config import layers
from tests.e2e.conftest import CHECKOUT

pytestmark = pytest.mark.e2e

# The chart's: a probe every 2 s that fails twice takes a pod out of the balancer; drained for 5 s.
READINESS = 4.0


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What must be seen; nothing of the rest may.

    Attributes:
        jobs: what became of those that brought the state about; None: what the test says.
        lost: how many others may be lost at most, who were served when the process was killed.
        busy: whether others may be told to come back.
        out: whether the balancer takes the pod out.
    """

    jobs: Mapping[str, int] | None = None
    after: str = "same worker"
    lost: int = 0
    busy: bool = False
    out: bool = False


HUNG = Expected(jobs={"lost": 1}, after="new worker", busy=True)
EXPECTED: Mapping[str, Expected] = {
    "deadlock": Expected(jobs={"lost": 2}, after="new worker", busy=True),
    "deadline": HUNG,
    "pool": HUNG,
    "slow": Expected(jobs={}),
    # Whom the balancer sends to that pod in the 5 s until it is noticed: half of ten users a second, give or take three
    # standard deviations of its throws. The server accepts them without the interpreter, and nobody can answer them.
    "held": Expected(jobs={"lost": 1}, after="new worker", lost=36),
    "maintenance": Expected(jobs={}, out=True),
    "sigterm": Expected(jobs={"200": 1}, after="gone", out=True),
    "wheel": Expected(jobs={}, out=True),
    "long": Expected(jobs={"200": 1}),
    "busy": Expected(jobs={"200": 1}),
    "leak": Expected(jobs={"200": 1}, after="new worker", busy=True),
    "full": Expected(busy=True),
    "kill": Expected(jobs={}, after="new worker", lost=2),
    "memory": Expected(jobs={"lost": 1}, after="new worker", lost=10),
}


@pytest.fixture(scope="module")
def seen(service_image: str) -> Mapping[str, Observation]:
    """Every state, brought about with the image that the pipeline builds."""
    config = layers.load(CHECKOUT / "service", environment="test").config
    with pods.cluster(config, service_image) as cluster:
        return pods.observe_all(cluster)


@pytest.mark.parametrize("name", pods.STATES)
def test_each_state_ends_as_it_should_and_users_are_served(seen: Mapping[str, Observation], name: str) -> None:
    found, expected = seen[name], EXPECTED[name]
    print(pods.row(pods.STATES[name], found))  # noqa: T201 — shown when it fails
    answers = {"200", *(["503"] if expected.busy else []), *(["lost"] if expected.lost else [])}
    assert set(found.users) <= answers, "no one is refused a connection, left waiting, or given an error"
    # while both places of one pod are taken by jobs that hang, the half of the users whom it gets are told to come back
    assert found.users["200"] > 0.6 * sum(found.users.values())
    assert found.users.get("lost", 0) <= expected.lost
    assert expected.jobs is None or found.jobs == expected.jobs
    assert found.after == expected.after
    assert found.restarts == 0, "kubelet had nothing to do"
    assert bool(found.out) == expected.out


def test_liveness_fails_only_for_a_job_past_its_deadline_or_a_worker_without_life(
    seen: Mapping[str, Observation],
) -> None:
    for name, found in seen.items():
        if name in ("deadlock", "deadline", "pool"):
            assert all(begun > 9 for begun, _ in found.live), "within its deadline a job may take its time"
        elif name != "held":
            assert found.live == [], name


def test_a_pod_that_is_not_ready_gets_no_users_and_gets_them_again(seen: Mapping[str, Observation]) -> None:
    ((begun, end),) = seen["maintenance"].ready
    ((out, back),) = seen["maintenance"].out
    assert 0 <= out - begun < READINESS + 3
    assert 0 <= back - end < READINESS + 3


def test_a_pod_that_ends_gets_no_users_at_once_and_finishes_its_job(seen: Mapping[str, Observation]) -> None:
    ((out, _),) = seen["sigterm"].out
    assert out < 2
    assert seen["sigterm"].ready[0][0] < 3


def test_a_wrong_wheel_is_never_sent_users(seen: Mapping[str, Observation]) -> None:
    ((ready, _),) = seen["wheel"].ready
    ((out, _),) = seen["wheel"].out
    assert ready < 0 and out < 0


def test_a_full_queue_serves_as_many_as_it_can(seen: Mapping[str, Observation]) -> None:
    jobs = seen["full"].jobs
    assert set(jobs) == {"200", "503"}
    assert jobs["200"] >= 2
