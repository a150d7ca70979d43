"""Logs: one JSON object a line, on standard output. The text of a request is never in them."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

FORMATTER = {
    "()": "pythonjsonlogger.json.JsonFormatter",
    "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
    "datefmt": "%Y-%m-%dT%H:%M:%S%z",
    "json_ensure_ascii": False,
}


def configuration(level: str) -> dict[str, Any]:
    """For `logging.config.dictConfig`; the server's own lines are alike."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": FORMATTER},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
        "root": {"handlers": ["stdout"], "level": "WARNING"},
        "loggers": {
            "servicio": {"level": level},
            "_granian": {"level": level, "propagate": True},
        },
    }


class RequestLog:
    """A line for each request, written together every ``interval`` seconds.

    To write each by itself would take a tenth of a request's processor time, and let go of the interpreter's lock in
    the middle of every request. When the process is killed the last lines are lost.
    """

    def __init__(self, interval: float = 0.2):
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque()
        self._interval = interval
        threading.Thread(target=self._write, name="request log", daemon=True).start()

    def append(self, **members: Any) -> None:
        """A request was answered now."""
        self._waiting.append((time.time(), members))

    def flush(self) -> None:
        """Write the lines that wait."""
        lines = []
        while self._waiting:
            at, members = self._waiting.popleft()
            when = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
            head = {"time": when, "level": "INFO", "logger": "servicio.request", "message": "request"}
            lines.append(json.dumps(head | members) + "\n")
        sys.stdout.write("".join(lines))
        sys.stdout.flush()

    def _write(self) -> None:
        while True:
            time.sleep(self._interval)
            self.flush()
