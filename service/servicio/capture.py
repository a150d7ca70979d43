"""Keeps predictions for retraining: sampled, without personal data, in closed files that something else uploads.

A request only ever puts a record into a bounded queue; a thread cleans, writes and rotates. What cannot be kept is
dropped and counted.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING

from servicio import metrics, personal_data
from servicio.model import Model
from servicio.settings import Settings

if TYPE_CHECKING:
    from clasificador_modelo import Classification

OPEN, CLOSED = ".part", ".jsonl"

log = logging.getLogger("servicio.capture")


@dataclass(frozen=True, kw_only=True)
class _Record:
    at: float
    text: str
    found: Classification


class Capture:
    """Writes ``captura-TIME-PID.jsonl`` files into ``capture_dir``; one that is still written to ends in `.part`."""

    def __init__(self, settings: Settings, model: Model):
        assert settings.capture_dir is not None
        self._folder = settings.capture_dir
        self._settings = settings
        self._model = model
        self._queue: queue.Queue[_Record] = queue.Queue(settings.capture_queue)
        self._file: BufferedWriter | None = None
        self._path = Path()
        self._opened = 0.0

    def start(self) -> None:
        """Write from now on, in a thread."""
        close_left(self._folder)
        threading.Thread(target=self._write, name="capture", daemon=True).start()

    def keep(self, text: str, found: Classification) -> None:
        """Keep a share of the predictions; never waits, never fails."""
        if random.random() >= self._settings.capture_share:  # noqa: S311 — a sample, nothing secret
            return
        try:
            self._queue.put_nowait(_Record(at=time.time(), text=text, found=found))
        except queue.Full:
            metrics.dropped("queue")

    def _write(self) -> None:
        while True:
            try:
                record = self._queue.get(timeout=1)
            except queue.Empty:
                record = None
            try:
                if record is not None:
                    self._one(record)
                if self._file and time.monotonic() - self._opened > self._settings.capture_file_age:
                    self._rotate()
            except OSError as error:
                metrics.dropped("disk")
                log.warning("a prediction could not be kept: %s", error.strerror)

    def _one(self, record: _Record) -> None:
        if self._file is None:
            if len(list(self._folder.glob(f"*{CLOSED}"))) >= self._settings.capture_files:
                metrics.dropped("files")
                return
            self._open()
        assert self._file is not None
        self._file.write(self._line(record))
        self._file.flush()
        metrics.captured()
        if self._file.tell() >= self._settings.capture_file_bytes:
            self._rotate()

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"captura-{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}{OPEN}"
        self._path = self._folder / name
        self._file = self._path.open("ab")
        fcntl.flock(self._file, fcntl.LOCK_EX)  # released when this process ends, however it ends
        self._opened = time.monotonic()

    def _rotate(self) -> None:
        if self._file is not None:
            with self._file:  # whoever finds it open must not take it for one that was left
                self._file = None
                self._path.rename(self._path.with_suffix(CLOSED))

    def _line(self, record: _Record) -> bytes:
        members = {
            "time": datetime.fromtimestamp(record.at, UTC).isoformat(),
            "model": {"version": self._model.version, "digest": self._model.digest, "data": self._model.data_digest},
            "text": personal_data.without(record.text),
            "tokens": [{"token": token.token, "score": token.score} for token in record.found.tokens],
        }
        return json.dumps(members, ensure_ascii=False).encode() + b"\n"


def close_left(folder: Path) -> None:
    """Close the files that processes which are gone have left open; they may have been of another container."""
    for left in folder.glob(f"captura-*{OPEN}"):
        with suppress(OSError), left.open("rb") as file:  # somebody writes to it, or has just closed it
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.rename(left.with_suffix(CLOSED))
