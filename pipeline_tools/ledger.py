"""What was done: a folder for each run, and for each step the last time it passed.

    .pipeline/runs/ID/run.json        the run: commit, steps and how each ended
    .pipeline/runs/ID/events.jsonl    everything as it happened
    .pipeline/runs/ID/error.json      why it failed, if it did
    .pipeline/runs/ID/steps/STEP/     log.txt, outputs.json and the files of the step
    .pipeline/passed/STEP.json        input digest and outputs of the last time the step passed

Files are replaced as a whole (written beside, then renamed), so that a kill at any moment leaves them readable.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline_tools.errors import ConfigError
from pipeline_tools.masking import mask_values
from pipeline_tools.step import Json

FOLDER = ".pipeline"


def write_json(path: Path, value: Json) -> None:
    """Replace ``path`` atomically by ``value``, masked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(mask_values(value), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Passed:
    """The last time that a step passed."""

    digest: str
    run: str
    outputs: Mapping[str, Json]


class Run:
    """The folder of one run."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.id = run_id
        self.folder = folder
        self._started = time.monotonic()

    def step_folder(self, step_id: str) -> Path:
        """The step's folder, created."""
        folder = self.folder / "steps" / step_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def event(self, kind: str, **values: Json) -> Json:
        """Append an event; returns it, masked."""
        event = {
            "time": _now(),
            "elapsed": round(time.monotonic() - self._started, 3),
            "event": kind,
            **mask_values(values),
        }
        line = json.dumps(event, ensure_ascii=False) + "\n"
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)
        return event

    def write(self, name: str, value: Json) -> None:
        """Write one of the run's JSON files."""
        write_json(self.folder / name, value)


class Ledger:
    """The ledger of a project."""

    def __init__(self, project: Path) -> None:
        self.folder = project / FOLDER

    @contextmanager
    def run(self) -> Iterator[Run]:
        """A new run; at most one at a time in a project.

        Raises:
            ConfigError: another run is at work in this project.
        """
        self.folder.mkdir(exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
        lock = FileLock(self.folder / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"Another run is at work in {self.folder.parent}.",
                hint="Wait for it to end, or stop it; the lock goes with its process.",
            ) from error
        try:
            run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
            folder = self.folder / "runs" / run_id
            folder.mkdir(parents=True)
            self._point_latest(run_id)
            yield Run(folder, run_id)
        finally:
            lock.release()

    def _point_latest(self, run_id: str) -> None:
        beside = self.folder / ".latest"
        beside.unlink(missing_ok=True)
        beside.symlink_to(Path("runs") / run_id)
        beside.replace(self.folder / "latest")

    def passed(self, step_id: str) -> Passed | None:
        """The last time that ``step_id`` passed; None when it never did or the record is unreadable."""
        try:
            record = json.loads((self.folder / "passed" / f"{step_id}.json").read_text(encoding="utf-8"))
            return Passed(digest=record["digest"], run=record["run"], outputs=record["outputs"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def record(self, step_id: str, passed: Passed) -> None:
        """Record that a step passed."""
        value = {"digest": passed.digest, "run": passed.run, "outputs": dict(passed.outputs), "time": _now()}
        write_json(self.folder / "passed" / f"{step_id}.json", value)


def digest(parts: Json, files: Sequence[tuple[str, Path]]) -> str:
    """SHA-256 over ``parts`` (as canonical JSON) and the files' names, modes and contents."""
    total = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name, path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name}\0{int(os.access(path, os.X_OK))}\0{content}\n".encode())
    return total.hexdigest()
