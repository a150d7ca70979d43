"""Logs: one JSON object a line, on standard output. The text of a request is never in them."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import orjson

FORMATTER = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
    "json_ensure_ascii": False,
}
# What may wait to be written, in bytes: of requests it is some 4000 lines. More is dropped and counted.
MOST = 1_000_000
STDOUT = 1
LAST_LINES = 1.0  # how long a process that ends waits for its last lines to be read, in seconds


class Output:
    """Standard output, written by a thread: nobody waits for who reads it, not even when nobody does."""

    def __init__(self) -> None:
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.drain)

    def _begin(self) -> None:
        """In this process, which has no thread yet."""
        self._lock = threading.Lock()
        self._pieces: SimpleQueue[bytes] = SimpleQueue()
        self._held = 0  # bytes that wait
        self._dropped = 0
        self._begun = False

    def write(self, text: str) -> None:
        """As `logging` calls it for a line."""
        self.put(text.encode("utf-8", "backslashreplace"))

    def put(self, lines: bytes) -> None:
        """Whole lines; never waits."""
        with self._lock:
            if self._held + len(lines) > MOST:
                self._dropped += lines.count(b"\n")
                return
            self._held += len(lines)
            self._pieces.put(lines)
            if not self._begun:
                threading.Thread(target=self._write, name="output", daemon=True).start()
                self._begun = True  # not when there can be no thread now: the next line tries again

    def dropped(self) -> int:
        """Lines that were dropped since it was last asked."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        return dropped

    def drain(self) -> None:
        """Wait until everything is written, but not longer than LAST_LINES."""
        end = time.monotonic() + LAST_LINES
        while self._held and time.monotonic() < end:
            time.sleep(0.005)

    def _write(self) -> None:
        while True:
            lines = self._pieces.get()
            rest = memoryview(lines)
            dropped = 0
            try:
                while rest:
                    rest = rest[os.write(STDOUT, rest) :]
            except OSError:  # it is full or gone
                dropped = bytes(rest).count(b"\n")
            with self._lock:
                self._held -= len(lines)
                self._dropped += dropped


OUTPUT = Output()


def configuration(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`; the server's own lines are alike."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": FORMATTER},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": OUTPUT, "formatter": "json"}},
        "root": {"handlers": ["stdout"], "level": "WARNING"},
        "loggers": {
            "servicio": {"level": level},
            "_granian": {"level": level, "propagate": True},
        },
    }


def write_requests(answered: Iterable[tuple[float, dict[str, Any]]]) -> None:
    """A line for each request that was answered, with when that was; all are written at once.

    To write each by itself would take a tenth of a request's processor time, and let go of the interpreter's lock in
    the middle of every request.
    """
    lines = []
    for at, members in answered:
        when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        head = {"time": when, "level": "INFO", "logger": "servicio.request", "message": "request"}
        lines.append(orjson.dumps(head | members, option=orjson.OPT_APPEND_NEWLINE))
    OUTPUT.put(b"".join(lines))
