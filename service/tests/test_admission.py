from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from servicio.admission import Admission, Busy

from tests.conftest import eventually


class Holder:
    """Takes a place in a thread of its own, and keeps it until it is told to let go."""

    def __init__(self, admission: Admission, pool: ThreadPoolExecutor, patience: float = 5):
        self._go = threading.Event()
        self.entered = threading.Event()
        self.done: Future[None] = pool.submit(self._hold, admission, patience)

    def _hold(self, admission: Admission, patience: float) -> None:
        with admission.guest(), admission.place(patience):
            self.entered.set()
            assert self._go.wait(5)

    def leave(self) -> None:
        self._go.set()
        self.done.result(5)


@pytest.fixture
def hold() -> Callable[..., Holder]:
    pool = ThreadPoolExecutor(16)
    return lambda admission, patience=5.0: Holder(admission, pool, patience)


def make(running: int = 1, waiting: int = 1, standing_wait: float = 5) -> Admission:
    return Admission(running=running, waiting=waiting, reading=1, job_timeout=5, standing_wait=standing_wait)


def state(admission: Admission) -> tuple[int, bool]:
    """How many wait, and whether the next would be refused."""
    return admission.waiting, admission.full


def reason(admission: Admission, patience: float = 0.01) -> str:
    with pytest.raises(Busy) as busy, admission.place(patience):
        pass
    return busy.value.reason


def test_so_many_run_so_many_wait_and_the_rest_is_refused_at_once(hold: Callable[..., Holder]) -> None:
    admission = make(running=2, waiting=1)
    first, second = hold(admission), hold(admission)
    assert first.entered.wait(5) and second.entered.wait(5)
    assert state(admission) == (0, False)
    third = hold(admission)
    eventually(lambda: admission.waiting == 1, "third waits")
    assert state(admission) == (1, True)
    assert admission.wait_since > 0
    begun = time.monotonic()
    assert reason(admission, patience=5) == "full"
    assert time.monotonic() - begun < 0.1
    first.leave()
    assert third.entered.wait(5)
    second.leave()
    third.leave()
    assert (admission.running, admission.waiting, admission.deadlines()) == (0, 0, [])


def test_who_waited_too_long_is_refused_and_leaves_the_queue(hold: Callable[..., Holder]) -> None:
    admission = make()
    first = hold(admission)
    assert first.entered.wait(5)
    assert reason(admission) == "waited"
    assert admission.waiting == 0
    first.leave()


def test_nobody_overtakes(hold: Callable[..., Holder]) -> None:
    admission = make(waiting=5)
    first = hold(admission)
    assert first.entered.wait(5)
    waiting: list[Holder] = []
    for _ in range(5):
        waiting.append(hold(admission))
        eventually(lambda: admission.waiting == len(waiting), "it waits")
    for begun, one in enumerate([first, *waiting]):
        assert one.entered.wait(5)
        assert [other.entered.is_set() for other in waiting] == [True] * begun + [False] * (5 - begun)
        one.leave()


def test_in_a_queue_that_stands_nobody_waits_long(hold: Callable[..., Holder]) -> None:
    admission = make(standing_wait=0.05)
    first = hold(admission)
    assert first.entered.wait(5)
    begun = time.monotonic()
    with pytest.raises(Busy, match="waited"):
        hold(admission, 0.3).done.result(5)
    assert time.monotonic() - begun > 0.25, "a burst may wait"
    begun = time.monotonic()
    with pytest.raises(Busy, match="waited"):
        hold(admission, 5).done.result(5)
    assert time.monotonic() - begun < 0.25, "the queue has been there for long"
    first.leave()
    again = hold(admission)
    assert again.entered.wait(5)
    assert reason(admission, patience=0.2) == "waited"
    again.leave()


def test_closing_sends_away_those_who_wait(hold: Callable[..., Holder]) -> None:
    admission = make()
    first = hold(admission)
    assert first.entered.wait(5)
    second = hold(admission)
    eventually(lambda: admission.waiting == 1, "second waits")
    admission.close()
    with pytest.raises(Busy, match="ending"):
        second.done.result(5)
    assert reason(admission) == "ending"
    assert admission.full
    first.leave()


def test_a_place_is_given_back_whatever_happens() -> None:
    admission = make()
    with pytest.raises(ZeroDivisionError), admission.place(1):
        raise ZeroDivisionError
    assert (admission.running, admission.deadlines()) == (0, [])


def test_many_threads_never_run_more_than_there_are_places() -> None:
    admission = make(running=3, waiting=4)
    most, now, outcomes = [0], [0], {"ran": 0, "refused": 0}
    lock = threading.Lock()

    def work() -> None:
        for _ in range(200):
            try:
                with admission.place(0.001):
                    with lock:
                        now[0] += 1
                        most[0] = max(most[0], now[0])
                    time.sleep(0.0001)
                    with lock:
                        now[0] -= 1
                        outcomes["ran"] += 1
            except Busy:
                with lock:
                    outcomes["refused"] += 1

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 3
    assert outcomes["ran"] + outcomes["refused"] == 12 * 200
    assert outcomes["ran"] > 100
    assert (admission.running, admission.waiting) == (0, 0)


def test_who_is_let_in_counts_before_there_is_a_place_to_ask_for() -> None:
    """Under load many are on their way to a place at once; to refuse them only there costs as much as a prediction."""
    admission = make(running=1, waiting=1)
    with admission.guest():
        assert not state(admission)[1]
        with ThreadPoolExecutor(1) as pool, admission.reader():
            second = pool.submit(admission.guest).result()
            assert state(admission)[1]
            second.__exit__()
        assert not state(admission)[1]


def test_bodies_that_are_slow_to_come_keep_nobody_out_until_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    admission = make(running=1, waiting=0)
    with admission.guest(), admission.reader():
        assert state(admission)[1]
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: admission.reader().__exit__()).result()
            monkeypatch.setattr("servicio.admission.SLOW", -1.0)
            assert not state(admission)[1]
            with pytest.raises(Busy, match="reading"):
                pool.submit(admission.reader).result()
    assert admission.reading_since() == []
