"""A worker's watchdog: says that it lives, and ends it, with all its stacks in the log, when it no longer works."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from servicio import logs
from servicio.admission import Admission
from servicio.board import Slot
from servicio.door import Door
from servicio.model import Model, golden
from servicio.settings import Settings

# What a worker that ended itself leaves; 1 is faulthandler's own.
EXIT_CODE = 70
TICK = 0.2
# How long the other jobs of a worker that must end may take to be answered, in seconds.
LAST_ANSWERS = 1.0
# How often in a row the model may fail to answer what it has answered at the start.
FAILURES = 3
# A worker whose interpreter is held by one thread (a regular expression that runs away, a native function) runs no
# Python any more, the watchdog's neither. faulthandler's timer is a thread without Python: it is put off at each tick.

log = logging.getLogger("servicio.watchdog")


class Watchdog:
    """Watches the jobs of ``admission`` and reports to ``slot``."""

    def __init__(self, settings: Settings, admission: Admission, slot: Slot):
        self._settings = settings
        self._admission = admission
        self._slot = slot
        self._parent = os.getppid()
        self._door: Door | None = None

    def start(self) -> None:
        """Watch from now on, in a thread."""
        self._slot.start(os.getpid())
        self._tick()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def try_model(self, model: Model) -> None:
        """Ask the model for a prediction every now and then, in a thread: liveness is built on that call."""
        threading.Thread(target=self._canary, args=(model,), name="canary", daemon=True).start()

    def watch_loop(self, door: Door) -> None:
        """The event loop must not stand still either."""
        self._door = door

    def _watch(self) -> None:
        while True:
            time.sleep(TICK)
            if reason := self._tick():
                self._end(reason)

    def _tick(self) -> str:
        """Report; returns why the worker must end, if it must."""
        settings, admission = self._settings, self._admission
        faulthandler.dump_traceback_later(settings.stuck_timeout, exit=True, file=sys.stderr)
        now = time.monotonic()
        deadlines = admission.deadlines()
        self._slot.beat(
            running=admission.running,
            waiting=admission.waiting,
            reading=admission.reading,
            wait_since=admission.wait_since,
            deadline=min(deadlines, default=0.0),
        )
        if os.getppid() != self._parent:
            return "the main process is gone"
        if deadlines and min(deadlines) < now:
            return "a job is past its deadline"
        if self._door is not None and 0 < self._door.ticked < now - settings.stuck_timeout:
            return "its event loop stands still"
        threads = len(list(Path("/proc/self/task").iterdir()))
        if threads > settings.max_threads:
            return f"it has {threads} threads: some code leaks them"
        return ""

    def _canary(self, model: Model) -> None:
        text, label = next(iter(golden().items()))
        failures = 0
        while True:
            time.sleep(self._settings.canary_interval)
            try:
                with self._admission.job(self._settings.job_timeout):
                    found = model.classify(text).tokens[0].token
            except Exception as error:  # only its kind is told: what it says may hold what somebody has sent
                failures += 1
                log.warning("the model cannot answer %r: %s", text, type(error).__name__)
                if failures >= FAILURES:
                    self._end(f"the model cannot answer {text!r}: {type(error).__name__}")
                continue
            failures = 0
            if found != label:
                self._end(f"{text!r} has become {found}, it was {label}")

    def _end(self, reason: str) -> None:
        """Dump all stacks, let those be answered who can be, and end the process; the server starts another."""
        self._admission.close()
        try:
            log.critical("this worker ends: %s", reason)
            with suppress(OSError):  # there may be no memory or file left for it
                self._dump()
            end = time.monotonic() + LAST_ANSWERS
            while time.monotonic() < end and any(one > time.monotonic() for one in self._admission.deadlines()):
                time.sleep(0.01)
            time.sleep(0.05)  # the server writes the last answers
            logs.OUTPUT.drain()
        finally:  # or it would go on, look healthy and refuse everything
            os._exit(EXIT_CODE)

    def _dump(self) -> None:
        """All stacks into the log: straight to standard error would hold the interpreter until that is read."""
        with os.fdopen(os.memfd_create("stacks"), "w+b") as file:
            faulthandler.dump_traceback(file=file, all_threads=True)
            file.seek(0)
            logs.OUTPUT.put(file.read())
