"""What workers tell the main process: numbers in memory that they share, so that probes ask no worker for anything."""

from __future__ import annotations

import ctypes
import json
import mmap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

LOADING, SERVING, REFUSED = 1, 2, 3
_ABOUT_BYTES = 4096


class _Worker(ctypes.Structure):
    """One worker's cells; one process writes them. Times are of the monotonic clock, which all processes share."""

    pid: int
    phase: int
    starts: int
    running: int
    waiting: int
    reading: int
    beat: float
    wait_since: float
    deadline: float
    about: bytes
    _fields_ = (
        *((name, ctypes.c_long) for name in ("pid", "phase", "starts", "running", "waiting", "reading")),
        *((name, ctypes.c_double) for name in ("beat", "wait_since", "deadline")),
        ("about", ctypes.c_char * _ABOUT_BYTES),
    )


class _Switches(ctypes.Structure):
    maintenance: bool
    draining: bool
    _fields_ = (("maintenance", ctypes.c_bool), ("draining", ctypes.c_bool))


class Slot:
    """What one worker says of itself."""

    def __init__(self, cells: _Worker):
        self._cells = cells

    def vacate(self) -> None:
        """The worker is gone; another will come."""
        starts = self._cells.starts
        ctypes.memset(ctypes.addressof(self._cells), 0, ctypes.sizeof(self._cells))
        self._cells.starts = starts

    def expect(self, seconds: float) -> None:
        """The worker is gone; another must begin to tell of itself within ``seconds``."""
        self.vacate()
        self._cells.deadline = time.monotonic() + seconds

    def start(self, pid: int) -> None:
        """A new worker takes the slot."""
        self.vacate()
        self._cells.starts += 1
        self._cells.beat = time.monotonic()
        self._cells.pid = pid
        self._cells.phase = LOADING

    def become(self, phase: int, about: Mapping[str, str]) -> None:
        """Say what the worker does from now on, and with which model; a long text is cut."""
        longest = _ABOUT_BYTES // (8 * len(about))  # a letter takes up to 6 bytes, as an escape
        self._cells.about = json.dumps({name: text[:longest] for name, text in about.items()}).encode()
        self._cells.phase = phase

    def beat(self, *, running: int, waiting: int, reading: int, wait_since: float, deadline: float) -> None:
        """A sign of life, and how busy the worker is; 0 for a time that there is none of."""
        cells = self._cells
        cells.running, cells.waiting, cells.reading = running, waiting, reading
        cells.wait_since, cells.deadline = wait_since, deadline
        cells.beat = time.monotonic()

    @property
    def pid(self) -> int:
        """The worker's process; 0 while there is none."""
        return self._cells.pid

    @property
    def starts(self) -> int:
        """How many workers have had this slot."""
        return self._cells.starts

    @property
    def phase(self) -> int:
        """LOADING, SERVING or REFUSED; 0 while there is no worker."""
        return self._cells.phase

    @property
    def about(self) -> dict[str, str]:
        """What the worker says of its model; empty while it loads."""
        found: dict[str, str] = json.loads(self._cells.about or b"{}")
        return found

    @property
    def running(self) -> int:
        """Predictions that run."""
        return self._cells.running

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return self._cells.waiting

    @property
    def reading(self) -> int:
        """Requests whose body is on its way."""
        return self._cells.reading

    @property
    def oldest_wait(self) -> float:
        """How long the first in the queue has waited, in seconds."""
        since = self._cells.wait_since
        return time.monotonic() - since if since else 0.0

    def sick(self, stuck_timeout: float) -> str:
        """What is wrong with a worker that must be replaced; empty when nothing is."""
        now = time.monotonic()
        deadline, beat = self._cells.deadline, self._cells.beat
        if deadline and deadline < now:
            what = "a job" if self._cells.pid else "the start"
            return f"{what} is {now - deadline:.1f} s past its deadline"
        if beat and now - beat > stuck_timeout:
            return f"no sign of life for {now - beat:.1f} s"
        return ""


class Board:
    """A slot for each worker, and the switches that the main process turns. Made before the workers are forked."""

    def __init__(self, workers: int, maintenance_file: Path | None = None):
        cells = _Worker * workers
        memory = mmap.mmap(-1, ctypes.sizeof(cells) + ctypes.sizeof(_Switches))
        self._slots = [Slot(one) for one in cells.from_buffer(memory)]
        self._switches = _Switches.from_buffer(memory, ctypes.sizeof(cells))
        self._maintenance_file = maintenance_file

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def __getitem__(self, worker: int) -> Slot:
        return self._slots[worker]

    @property
    def maintenance(self) -> bool:
        """Switched on by a person or a program, here or by a file that exists: alive, served, but not ready."""
        file = self._maintenance_file
        return self._switches.maintenance or (file is not None and file.exists())

    @maintenance.setter
    def maintenance(self, on: bool) -> None:
        self._switches.maintenance = on

    @property
    def draining(self) -> bool:
        """SIGTERM has come: not ready, what arrives is still served."""
        return self._switches.draining

    @draining.setter
    def draining(self, on: bool) -> None:
        self._switches.draining = on
