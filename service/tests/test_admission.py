from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from servicio.admission import Admission, Busy

from tests.conftest import eventually


class Held:
    """A job that keeps its place until it is told to let go."""

    def __init__(self, order: list[Held] | None = None) -> None:
        self._go = threading.Event()
        self._order = order
        self.entered = threading.Event()
        self.ended = threading.Event()
        self.refused = ""

    def run(self) -> None:
        if self._order is not None:
            self._order.append(self)
        self.entered.set()
        assert self._go.wait(5)
        self.ended.set()

    def refuse(self, reason: str) -> None:
        self.refused = reason
        self.ended.set()

    def leave(self) -> None:
        self._go.set()
        assert self.ended.wait(5)


Hold = Callable[..., Held]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Submit a job that holds its place; all of them let go at the end."""
    held: list[Held] = []

    def submit(admission: Admission, patience: float = 5, order: list[Held] | None = None) -> Held:
        held.append(Held(order))
        admission.submit(held[-1], patience)
        return held[-1]

    yield submit
    for job in held:
        job._go.set()


def make(running: int = 1, waiting: int = 1, standing_wait: float = 5, reading: int = 1) -> Admission:
    return Admission(running=running, waiting=waiting, reading=reading, job_timeout=5, standing_wait=standing_wait)


def reason(admission: Admission) -> str:
    with pytest.raises(Busy) as busy:
        admission.submit(Held(), 5)
    return busy.value.reason


def free(admission: Admission) -> bool:
    return (admission.running, admission.waiting, admission.deadlines()) == (0, 0, [])


def test_so_many_run_so_many_wait_and_the_rest_is_refused_at_once(hold: Hold) -> None:
    admission = make(running=2, waiting=1)
    first, second = hold(admission), hold(admission)
    assert first.entered.wait(5) and second.entered.wait(5)
    assert len(admission.deadlines()) == 2
    third = hold(admission)
    assert (admission.running, admission.waiting) == (2, 1)
    assert admission.wait_since > 0
    assert reason(admission) == "full"
    first.leave()
    assert third.entered.wait(5)
    second.leave()
    third.leave()
    eventually(lambda: free(admission), "nobody is left")


def test_who_waited_too_long_is_refused_and_leaves_the_queue(hold: Hold) -> None:
    admission = make(waiting=2)
    hold(admission)
    hurried, patient = hold(admission, 0.01), hold(admission)
    time.sleep(0.02)
    admission.expire()
    assert (hurried.refused, patient.refused, admission.waiting) == ("waited", "", 1)


def test_who_waited_too_long_is_refused_when_his_turn_comes(hold: Hold) -> None:
    admission = make(waiting=2)
    first, hurried, patient = hold(admission), hold(admission, 0.01), hold(admission)
    time.sleep(0.02)
    first.leave()
    assert patient.entered.wait(5)
    assert (hurried.refused, hurried.entered.is_set()) == ("waited", False)


def test_nobody_overtakes(hold: Hold) -> None:
    admission = make(waiting=5)
    order: list[Held] = []
    jobs = [hold(admission, order=order) for _ in range(6)]
    for begun, job in enumerate(jobs):
        assert job.entered.wait(5)
        assert order == jobs[: begun + 1]
        job.leave()


def test_under_an_overload_the_queue_is_kept_short(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("servicio.admission.time", SimpleNamespace(monotonic=lambda: now[0]))
    admission = make(waiting=50, standing_wait=0.05)
    here: deque[Held] = deque()

    def arrive() -> int:
        """As many as may come; how many there are then."""
        while not admission.is_full():
            here.append(hold(admission))
            admission.let_in(here[-1])
        return len(here)

    def next_one() -> None:
        """The job that runs ends after 10 ms, and the next begins."""
        now[0] += 0.01
        ended = here.popleft()
        ended.leave()
        admission.dismiss(ended)
        if here:
            assert here[0].entered.wait(5)

    def pass_on(jobs: int) -> list[int]:
        """So many jobs end, each while as many come as may; how many there are after each."""
        present = []
        for _ in range(jobs):
            next_one()
            present.append(arrive())
        return present

    assert arrive() == 51, "a burst may fill the queue"
    assert set(pass_on(10)) == {51}, "and keep it full for 0.1 s"
    assert pass_on(45) == [*range(50, 6, -1), 6], "then it is an overload: nobody comes until the wait is short"
    assert set(pass_on(100)) == {6}, "who comes now waits for 0.05 s, which is five jobs"
    while here:
        next_one()
    now[0] += 0.11
    assert arrive() == 51, "nobody was refused for 0.1 s: it is over"


def test_closing_sends_away_those_who_wait(hold: Hold) -> None:
    admission = make()
    first, second = hold(admission), hold(admission)
    assert first.entered.wait(5)
    admission.close()
    assert second.refused == "ending"
    assert reason(admission) == "ending"
    assert admission.is_full()
    first.leave()


def test_a_place_is_given_back_whatever_happens(hold: Hold, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Held):
        def run(self) -> None:
            raise ZeroDivisionError

    admission = make()
    admission.submit(Broken(), 1)
    eventually(lambda: free(admission), "it is over")
    assert "ZeroDivisionError" in caplog.text
    assert hold(admission).entered.wait(5)


def test_many_threads_never_run_more_than_there_are_places() -> None:
    admission = make(running=3, waiting=4)
    lock = threading.Lock()
    now, most, outcomes = [0], [0], {"ran": 0, "refused": 0}

    class Short:
        def run(self) -> None:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.0001)
            with lock:
                now[0] -= 1
                outcomes["ran"] += 1

        def refuse(self, reason: str) -> None:
            with lock:
                outcomes["refused"] += 1

    def work() -> None:
        for _ in range(100):
            job = Short()
            try:
                admission.submit(job, 0.01)
            except Busy as busy:
                job.refuse(busy.reason)
            admission.expire()
            time.sleep(0.002)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    eventually(lambda: free(admission), "all are through")
    assert most[0] <= 3
    assert outcomes["ran"] + outcomes["refused"] == 12 * 100, "each is run or refused, once"
    assert outcomes["ran"] > 100


def test_who_is_let_in_counts_before_there_is_a_place_to_ask_for() -> None:
    """Under load many are on their way to a place at once; to refuse them only there costs more."""
    admission = make(running=1, waiting=1)
    admission.let_in("first")
    assert not admission.is_full()
    admission.let_in("second")
    assert admission.is_full()
    admission.dismiss("second")
    admission.dismiss("second")
    assert not admission.is_full()


def test_bodies_that_are_slow_to_come_keep_nobody_out_until_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    admission = make(running=1, waiting=0)
    admission.let_in("first")
    admission.read("first")
    assert admission.is_full()
    admission.read("quick ones may be more")
    admission.have_read("quick ones may be more")
    monkeypatch.setattr("servicio.admission.SLOW", -1.0)
    assert not admission.is_full()
    with pytest.raises(Busy, match="reading"):
        admission.read("second")
    assert admission.reading_since(time.monotonic()) == ["first"]
    admission.have_read("first")
    assert admission.reading == 0
