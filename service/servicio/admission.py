"""Who may use the model now, who waits, who is refused; and which jobs run, with their deadlines."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Hashable
from queue import SimpleQueue
from typing import Protocol

# How long requests may be refused, or the queue not be empty, before that is no burst but an overload; in seconds.
BURST = 0.1
# A body that takes longer to come, in seconds, is slow: who sends it does not count as one who will soon want a place.
SLOW = 0.1

log = logging.getLogger("servicio.admission")


class Busy(Exception):
    """No place for this request. ``reason`` is one of: full, waited, reading, ending."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


class Job(Hashable, Protocol):
    """What somebody wants a place for. One of the two is called, once, in whatever thread; neither may raise."""

    def run(self) -> None:
        """There is a place."""

    def refuse(self, reason: str) -> None:
        """There is none, and `Busy` says why in the same words."""


class _Span:
    """Has ``time`` in ``times`` under the thread's number, from its making to the end of its `with`.

    A class, because `contextmanager` takes three times as long.
    """

    __slots__ = ("_thread", "_times")

    def __init__(self, times: dict[int, float], time: float):
        self._times = times
        self._thread = threading.get_ident()
        times[self._thread] = time

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        del self._times[self._thread]


class Admission:
    """``running`` jobs at a time, each in a thread, ``waiting`` more in the order they came, the rest is refused.

    A queue that takes up a burst is good; one that stands only makes everybody wait. So under an overload, which is
    what lasts longer than ``BURST`` seconds, it is kept as short as lets those who join it wait for ``standing_wait``
    seconds at the pace at which jobs end, though there may always be one for each place (Nichols and Jacobson,
    Controlling Queue Delay, 2012; Maurer, Fail at Scale, 2015).

    A job has a deadline of its own, ``job_timeout`` seconds after it began: the watchdog reads them here.
    """

    def __init__(self, *, running: int, waiting: int, reading: int, job_timeout: float, standing_wait: float):
        self._most_running = running
        self._most_waiting = waiting
        self._most_reading = reading
        self._job_timeout = job_timeout
        self._standing_wait = standing_wait
        self._empty_at = time.monotonic()
        # of a burst or an overload; without a refusal for BURST seconds it is over
        self._crowded_since = 0.0
        self._crowded_until = 0.0
        self._ended_at = 0.0
        self._pace = 0.0  # seconds from the end of one job to that of the next, while some wait
        self._lock = threading.Lock()
        self._running = 0
        self._given: SimpleQueue[Job] = SimpleQueue()
        # when it came, until when it may wait
        self._queue: deque[tuple[float, float, Job]] = deque()
        self._closed = False
        # thread → deadline, reader → begin; each change is one operation, so they need no lock
        self._deadlines: dict[int, float] = {}
        self._reading: dict[Hashable, float] = {}
        self._guests: set[Hashable] = set()
        for number in range(running):
            threading.Thread(target=self._work, name=f"place {number}", daemon=True).start()

    def is_full(self) -> bool:
        """Whether as many guests are here as can run and wait, not counting those whose bodies are slow to come.

        It counts guests and not those in the queue: many may be on their way there, and to refuse them when they
        arrive costs more. To be asked for each of those who come, by one thread.
        """
        most = self._most_running + self._most_waiting
        if self._closed or len(self._guests) < min(most, 2 * self._most_running):
            return self._closed
        now = time.monotonic()
        if now > self._crowded_until:
            self._crowded_since = now
        if self._pace and now - self._crowded_since > BURST:
            most = min(most, self._most_running + max(self._most_running, int(self._standing_wait / self._pace)))
        full = len(self._guests) >= most and len(self._guests) - self._slow() >= most
        if full or (self._queue and now - self._empty_at > BURST):
            self._crowded_until = now + BURST
        return full

    def let_in(self, guest: Hashable) -> None:
        """Somebody who will send a body and ask for a place, and counts until he is dismissed."""
        self._guests.add(guest)

    def dismiss(self, guest: Hashable) -> None:
        """He has his answer; it may be said twice."""
        self._guests.discard(guest)

    def read(self, guest: Hashable) -> None:
        """A guest receives a body, which takes as long as the client likes; raises Busy when too many do."""
        if len(self._reading) >= self._most_reading and self._slow() >= self._most_reading:
            raise Busy("reading")
        self._reading[guest] = time.monotonic()

    def have_read(self, guest: Hashable) -> None:
        """The body is here, or given up; it may be said twice."""
        self._reading.pop(guest, None)

    def submit(self, job: Job, patience: float) -> None:
        """Run it, now or after a wait of at most ``patience`` seconds; raises Busy when it can do neither."""
        with self._lock:
            now = time.monotonic()
            if self._closed:
                raise Busy("ending")
            if self._running < self._most_running:
                self._running += 1
                self._empty_at = now
                self._given.put(job)
                return
            if len(self._queue) >= self._most_waiting:
                raise Busy("full")
            self._queue.append((now, now + patience, job))

    def expire(self) -> None:
        """Refuse those who have waited for as long as they may; to be called every now and then."""
        with self._lock:
            now = time.monotonic()
            late = [waiter for waiter in self._queue if waiter[1] <= now]
            for waiter in late:
                self._queue.remove(waiter)
        for _, _, job in late:
            job.refuse("waited")

    def job(self, timeout: float) -> _Span:
        """For `with`: a job that needs no place, with a deadline in ``timeout`` seconds: loading the model."""
        return _Span(self._deadlines, time.monotonic() + timeout)

    def close(self) -> None:
        """Refuse everybody from now on, those who wait too."""
        with self._lock:
            self._closed = True
            waiting = [job for _, _, job in self._queue]
            self._queue.clear()
        for job in waiting:
            job.refuse("ending")

    @property
    def running(self) -> int:
        """Places that are taken."""
        return self._running

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def wait_since(self) -> float:
        """When the first in the queue came, by the monotonic clock; 0 when nobody waits."""
        with self._lock:
            return self._queue[0][0] if self._queue else 0.0

    @property
    def reading(self) -> int:
        """Requests whose body is on its way."""
        return len(self._reading)

    def reading_since(self, time: float) -> list[Hashable]:
        """Guests whose bodies have been on their way since ``time``, by the monotonic clock, or longer."""
        return [guest for guest, begun in list(self._reading.items()) if begun <= time]

    def deadlines(self) -> list[float]:
        """Of the jobs that run, by the monotonic clock."""
        return list(self._deadlines.values())

    def _slow(self) -> int:
        """How many bodies are slow to come."""
        return len(self.reading_since(time.monotonic() - SLOW))

    def _work(self) -> None:
        """A place."""
        job: Job | None
        while job := self._given.get():
            while job is not None:
                with self.job(self._job_timeout):
                    try:
                        job.run()
                    except Exception:  # whatever it is, the place is for the next one
                        log.exception("a job failed")
                job = self._next()

    def _next(self) -> Job | None:
        """Who has the place now: the first in the queue, so that nobody who comes now overtakes it."""
        late: list[Job] = []
        found = None
        with self._lock:
            now = time.monotonic()
            if self._queue:
                self._pace += (now - self._ended_at - self._pace) / 20 if self._ended_at else 0.0
                self._ended_at = now
            else:
                self._ended_at = 0.0
            while self._queue and found is None:
                _, until, job = self._queue.popleft()
                if until > now:
                    found = job
                else:
                    late.append(job)
            if found is None:
                self._running -= 1
            if not self._queue:
                self._empty_at = now
        for job in late:
            job.refuse("waited")
        return found
