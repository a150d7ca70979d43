"""Who may use the model now, who waits, who is refused; and which jobs run, with their deadlines."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

# How long a queue may be there before it is one that stands, in seconds.
BURST = 0.1
# A body that takes longer to come, in seconds, is slow: who sends it does not count as one who will soon want a place.
SLOW = 0.1


class Busy(Exception):
    """No place for this request. ``reason`` is one of: full, waited, reading, ending."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class _Waiter:
    def __init__(self) -> None:
        self.since = time.monotonic()
        self.admitted = False
        self.turn = threading.Lock()
        self.turn.acquire()


class _Span:
    """Has ``time`` in ``times`` under the thread's number, from its making to the end of its `with`.

    A class, because `contextmanager` takes three times as long.
    """

    __slots__ = ("_end", "_thread", "_times")

    def __init__(self, times: dict[int, float], time: float, end: Callable[[], None] | None = None):
        self._times = times
        self._thread = threading.get_ident()
        self._end = end
        times[self._thread] = time

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        del self._times[self._thread]
        if self._end is not None:
            self._end()


class Admission:
    """``running`` jobs at a time, ``waiting`` more in the order they came, the rest is refused at once.

    A queue that takes up a burst is good; one that stands only makes everybody wait. So when it has not been empty for
    ``BURST`` seconds nobody waits longer than ``standing_wait`` (Nichols and Jacobson, Controlling Queue Delay, 2012;
    Maurer, Fail at Scale, 2015).

    A job has a deadline of its own, ``job_timeout`` seconds after it began: the watchdog reads them here.
    """

    def __init__(self, *, running: int, waiting: int, reading: int, job_timeout: float, standing_wait: float):
        self._places = running
        self._most_waiting = waiting
        self._most_reading = reading
        self._job_timeout = job_timeout
        self._standing_wait = standing_wait
        self._empty_at = time.monotonic()
        self._lock = threading.Lock()
        self._taken = 0
        self._queue: deque[_Waiter] = deque()
        self._closed = False
        # thread → deadline, thread → begin; one writer for each key, so they need no lock
        self._jobs: dict[int, float] = {}
        self._reading: dict[int, float] = {}
        self._guests: dict[int, float] = {}

    @property
    def full(self) -> bool:
        """Whether as many guests are here as can run and wait, not counting those whose bodies are slow to come.

        It counts guests and not those in the queue: under load many threads are still on their way there, and refused
        when they arrive, which costs ten times as much.
        """
        most = self._places + self._most_waiting
        if self._closed or len(self._guests) < most:
            return self._closed
        return len(self._guests) - self._slow() >= most

    def guest(self) -> _Span:
        """For `with`: a request that has been let in, and will read its body and ask for a place."""
        return _Span(self._guests, time.monotonic())

    def place(self, patience: float) -> _Span:
        """For `with`: a place to run in, after a wait of at most ``patience`` seconds; raises Busy."""
        self._enter(patience)
        return _Span(self._jobs, time.monotonic() + self._job_timeout, self._leave)

    def job(self, timeout: float) -> _Span:
        """For `with`: a job that needs no place, with a deadline in ``timeout`` seconds: loading the model."""
        return _Span(self._jobs, time.monotonic() + timeout)

    def reader(self) -> _Span:
        """For `with`: receive a body, which takes as long as the client likes; raises Busy when too many do."""
        if len(self._reading) >= self._most_reading and self._slow() >= self._most_reading:
            raise Busy("reading")
        return _Span(self._reading, time.monotonic())

    def close(self) -> None:
        """Refuse everybody from now on, those who wait too."""
        with self._lock:
            self._closed = True
            while self._queue:
                self._queue.popleft().turn.release()

    @property
    def running(self) -> int:
        """Places that are taken."""
        return self._taken

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def wait_since(self) -> float:
        """When the first in the queue came, by the monotonic clock; 0 when nobody waits."""
        with self._lock:
            return self._queue[0].since if self._queue else 0.0

    def deadlines(self) -> list[float]:
        """Of the jobs that run, by the monotonic clock."""
        return list(self._jobs.values())

    def reading_since(self) -> list[float]:
        """When the bodies began that are on their way, by the monotonic clock."""
        return list(self._reading.values())

    def _slow(self) -> int:
        """How many bodies are slow to come."""
        late = time.monotonic() - SLOW
        return sum(begun < late for begun in self.reading_since())

    def _enter(self, patience: float) -> None:
        with self._lock:
            if self._closed:
                raise Busy("ending")
            if self._taken < self._places:
                self._taken += 1
                self._empty_at = time.monotonic()
                return
            if len(self._queue) >= self._most_waiting:
                raise Busy("full")
            waiter = _Waiter()
            self._queue.append(waiter)
            if waiter.since - self._empty_at > BURST:
                patience = min(patience, self._standing_wait)
        waiter.turn.acquire(timeout=max(0.0, patience))
        with self._lock:
            if waiter.admitted:
                return
            if self._closed:
                raise Busy("ending")
            self._queue.remove(waiter)
            raise Busy("waited")

    def _leave(self) -> None:
        with self._lock:
            if self._queue:
                # the place goes to the first in the queue, so nobody who comes now overtakes it
                waiter = self._queue.popleft()
                waiter.admitted = True
                waiter.turn.release()
            else:
                self._taken -= 1
            if not self._queue:
                self._empty_at = time.monotonic()
