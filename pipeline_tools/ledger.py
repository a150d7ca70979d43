"""What was done: a folder for each run, and for each step the last time it passed.

    .pipeline/runs/ID/run.json        the run: commit, steps and how each ended
    .pipeline/runs/ID/events.jsonl    everything as it happened
    .pipeline/runs/ID/error.json      why it failed, if it did
    .pipeline/runs/ID/steps/STEP/     log.txt, reads.json, outputs.json and the files of the step
    .pipeline/passed/STEP.json        input digest and outputs of the last time the step passed
    .pipeline/files.json              see `reads`

Files are replaced as a whole (written beside, then renamed), so that a kill at any moment leaves them readable.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline_tools.errors import ConfigError
from pipeline_tools.masking import mask_values
from pipeline_tools.step import Json

FOLDER = ".pipeline"
# What is in a step's folder besides what the step left.
OURS = frozenset({"log.txt", ".lock"})
# How long a new run waits for what a killed one left behind to clean up after itself, in seconds.
CLEAN_UP = 90.0
# How files of ours have a byte of a name that is not UTF-8: as ``\udcf1``, which JSON gives back as it was. It comes
# after the masking, but no secret has such a byte (`secrets.resolve`).
UNENCODED = "backslashreplace"


def write_json(path: Path, value: Json, *, indent: int | None = 2) -> None:
    """Replace ``path`` atomically by ``value``, masked; without ``indent`` it is on one line, and ten times as fast."""
    replace(path, json.dumps(mask_values(value), indent=indent, ensure_ascii=False) + "\n")


def replace(path: Path, text: str) -> None:
    """Replace ``path`` atomically by ``text``; see `UNENCODED`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8", errors=UNENCODED)
    beside.replace(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """In this block files of ours are made, at or below ``path``.

    Raises:
        ConfigError: they cannot be.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{error.filename or path} cannot be written: {error.strerror}.",
            hint="Is something else in its place, or does the folder belong to another user? Make room there.",
        ) from error


def read_json(path: Path) -> Json:
    """The content of a JSON file of the ledger; None when it is not there or not readable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Passed:
    """The last time that a step passed."""

    digest: str
    run: str
    outputs: Mapping[str, Json]


class Run:
    """The folder of one run. ``lock`` is the descriptor that keeps other runs out."""

    def __init__(self, folder: Path, run_id: str, lock: int) -> None:
        self.id = run_id
        self.folder = folder
        self.lock = lock
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
        with (self.folder / "events.jsonl").open("a", encoding="utf-8", errors=UNENCODED) as file:
            file.write(line)
        return event

    def write(self, name: str, value: Json) -> None:
        """Write one of the run's JSON files."""
        write_json(self.folder / name, value)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process of the same run is in such a block: for reading, changing and writing back a file."""
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def step(self, step_id: str) -> Iterator[None]:
        """The step is at work for this block.

        Raises:
            ConfigError: it is already, in another process of the same run.
        """
        descriptor = os.open(self.step_folder(step_id) / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"The step {step_id} of the run {self.id} is at work already.") from error
            yield
        finally:
            os.close(descriptor)


class Ledger:
    """The ledger of a project."""

    def __init__(self, project: Path) -> None:
        self.folder = project / FOLDER

    @contextmanager
    def run(self, join: str | None = None, *, say: Callable[[str], None]) -> Iterator[Run]:
        """A run; at most one at a time in a project.

        Args:
            join: the name of a run that several processes make together, each with some of its steps, as a Jenkins
                build does; the first of them begins it. None: a new run.
            say: takes a line for the user.

        Raises:
            ConfigError: another run is at work in this project, ``join`` cannot be a folder's name, or nothing can be
                written there.
        """
        run_id = join or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        folder = self.run_folder(run_id)
        lock = self._locked(run_id, say)
        try:
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._point_latest(run_id)
            yield Run(folder, run_id, lock)
        finally:
            os.close(lock)

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run, which need not exist; the ledger's own does then.

        Raises:
            ConfigError: ``run_id`` cannot be a folder's name, or the ledger's folder cannot be made.
        """
        if not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9._]{0,200}", run_id):
            raise ConfigError(f"{run_id!r} cannot name a run: use letters, digits, dots, dashes and underscores.")
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
            ignore = self.folder / ".gitignore"
            if not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
        return self.folder / "runs" / run_id

    def _locked(self, run_id: str, say: Callable[[str], None]) -> int:
        """A descriptor of the lock file, locked: alone to write our run into it, then shared with its processes.

        The lock lives in the kernel: it goes with the last process that has the descriptor, however that ends.
        """
        with writing(self.folder):
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        end = time.monotonic() + CLEAN_UP
        said = False
        try:
            while True:
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, json.dumps({"run": run_id, "pid": os.getpid()}).encode(), 0)
                # who writes has it alone, for a moment: this waits for that, so that what is read is whole
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                holder = _holder(descriptor)
                if holder.get("run") == run_id:
                    return descriptor
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                if _alive(holder.get("pid")) or time.monotonic() > end:
                    raise ConfigError(
                        f"Another run, {holder.get('run', 'unknown')}, is at work in {self.folder.parent}.",
                        hint="Wait for it to end, or stop it; the lock goes with its processes.",
                    )
                if not said:
                    say(f"the run {holder.get('run')} was killed; waiting for its steps to clean up")
                    said = True
                time.sleep(0.2)
        except BaseException:
            os.close(descriptor)
            raise

    def _point_latest(self, run_id: str) -> None:
        beside = self.folder / f".latest.{os.getpid()}"
        beside.unlink(missing_ok=True)
        beside.symlink_to(Path("runs") / run_id)
        beside.replace(self.folder / "latest")

    def runs(self) -> list[Json]:
        """The content of every run.json, the newest last."""
        found = [read_json(file) for file in self.folder.glob("runs/*/run.json")]
        return sorted((run for run in found if isinstance(run, dict)), key=lambda run: str(run.get("started")))

    def passed(self, step_id: str) -> Passed | None:
        """The last time that ``step_id`` passed; None when it never did or the record is unreadable."""
        record = read_json(self.folder / "passed" / f"{step_id}.json")
        try:
            return Passed(digest=record["digest"], run=record["run"], outputs=dict(record["outputs"]))
        except (KeyError, TypeError, ValueError):
            return None

    def record(self, step_id: str, passed: Passed) -> None:
        """Record that a step passed."""
        value = {"digest": passed.digest, "run": passed.run, "outputs": dict(passed.outputs), "time": _now()}
        write_json(self.folder / "passed" / f"{step_id}.json", value)


def _holder(descriptor: int) -> dict[str, Json]:
    """The run and process that took the lock, as far as the file says it."""
    with suppress(ValueError):
        holder = json.loads(os.pread(descriptor, 4096, 0))
        if isinstance(holder, dict):
            return holder
    return {}


def _alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return True  # nothing is known of it
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def digest(reads: Mapping[str, Json]) -> str:
    """SHA-256 over what a step reads, as canonical JSON."""
    return hashlib.sha256(json.dumps(reads, sort_keys=True, default=str).encode()).hexdigest()
