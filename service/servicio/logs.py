"""Logs: one JSON object a line, on standard output. The text of a request is never in them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

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
    sys.stdout.write(b"".join(lines).decode())
    sys.stdout.flush()
