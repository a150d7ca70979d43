"""Logs: one JSON object a line, on standard output. The text of a request is never in them."""

from __future__ import annotations

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
