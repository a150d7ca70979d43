"""Bringing the laboratory up: every part as soon as what it needs is ready, slow things beside each other."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab import builds, world
from lab.layout import Lab
from lab.parts import PARTS, Part
from pipeline_tools.errors import InfrastructureError, PipelineError

# A part that has not answered after this many seconds will not.
PATIENCE = 300.0
Show = Callable[[str, str], None]


@dataclass(kw_only=True)
class State:
    """How far a part is: waiting, building, starting, ready, failed or theirs (a server of the user)."""

    status: str = "waiting"
    detail: str = ""
    seconds: float = 0.0


@dataclass(kw_only=True)
class Progress:
    """What the engine has done, kept in a file for `lab wait` and `lab status`."""

    lab: Lab
    show: Show
    parts: dict[str, State] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, part: str, status: str, detail: str = "", seconds: float = 0.0) -> None:
        """Note and show a change."""
        with self._lock:
            self.parts[part] = State(status=status, detail=detail, seconds=seconds)
            new = self.lab.run / ".parts.new"
            new.write_text(json.dumps({name: asdict(state) for name, state in self.parts.items()}))
            new.replace(self.lab.run / "parts.json")
        if status == "waiting":
            return
        self.show(part, f"{status}{f': {detail}' if detail else ''}{f' in {seconds:.1f} s' if seconds else ''}")


def read(lab: Lab) -> dict[str, State]:
    """What the engine noted last for each part."""
    with suppress(FileNotFoundError):
        return {name: State(**state) for name, state in json.loads((lab.run / "parts.json").read_text()).items()}
    return {}


def forget(lab: Lab) -> None:
    """Forget what was noted: what is ready now may be started anew in a moment."""
    (lab.run / "parts.json").unlink(missing_ok=True)


def split(theirs: set[str]) -> tuple[list[Part], list[Part]]:
    """The parts that run here, and those that the user's own servers replace (and what would need these)."""
    replaced: list[Part] = []
    for _ in PARTS:  # a part is also left out when one that it needs is
        gone = {part.name for part in replaced}
        replaced = [
            part
            for part in PARTS
            if (part.replaced_by and theirs.issuperset(part.replaced_by)) or gone.intersection(part.needs)
        ]
    return [part for part in PARTS if part not in replaced], replaced


def bring_up(lab: Lab, parts: Sequence[Part], progress: Progress) -> None:
    """Build, start and set up the parts; returns when all are ready.

    Raises:
        InfrastructureError: a part failed; the others were still brought up as far as they do not need it.
    """
    with world.Supervisor(lab) as supervisor:
        engine = _Engine(lab=lab, parts=parts, progress=progress, supervisor=supervisor)
        threads = [threading.Thread(target=engine.bring, args=(part,), daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)  # in slices, so that a signal is heeded at once
        except KeyboardInterrupt:
            _end_builds(lab)
            raise
    if engine.failed:
        details = [f"✘ {name}: {error.message}" for name, error in engine.failed.items()]
        details += [line for error in engine.failed.values() for line in error.details.splitlines()]
        raise InfrastructureError(
            f"{len(engine.failed)} of {len(parts)} parts did not come up.",
            details="\n".join(details),
            hint=f"The logs are in {lab.log}. `lab up` goes on from here.",
        )


class Turns:
    """Lets the first few of a list work at a time: which thread comes first must not decide what is compiled first."""

    def __init__(self, names: Sequence[str], at_once: int) -> None:
        self._waiting = list(names)
        self._at_once = at_once
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Wait until it is the turn of ``name``; the next one's comes at the end of the block."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._waiting[self._at_once :])
        try:
            yield
        finally:
            with self._changed:
                self._waiting = [other for other in self._waiting if other != name]
                self._changed.notify_all()


class _Engine:
    """What the parts' threads share."""

    def __init__(self, *, lab: Lab, parts: Sequence[Part], progress: Progress, supervisor: world.Supervisor) -> None:
        self.lab = lab
        self.progress = progress
        self.supervisor = supervisor
        self.failed: dict[str, PipelineError] = {}
        self._done = {part.name: threading.Event() for part in parts}
        wanted = {part.build for part in parts}
        missing = [b for b in builds.BUILDS.values() if b.name in wanted and not b.folder(lab.builds).is_dir()]
        self._compilers = Turns([build.name for build in missing if build.processor], builds.COMPILERS)

    def bring(self, part: Part) -> None:
        """Bring one part from nothing to ready; notes a failure instead of raising it."""
        start = time.monotonic()
        try:
            if part.build is not None:
                self._build(part, builds.BUILDS[part.build])
            for need in part.needs:
                self._done[need].wait()
                if need in self.failed:
                    raise InfrastructureError(f"it needs {need}, which failed")
            self._start(part)
            if part.setup is not None:
                self.progress.say(part.name, "setting up")
                part.setup(self.lab)
            self.progress.say(part.name, "ready", seconds=time.monotonic() - start)
        except Exception as error:  # a defect in one part must not leave the others waiting
            known = error if isinstance(error, PipelineError) else InfrastructureError(repr(error))
            self.failed[part.name] = known
            self.progress.say(part.name, "failed", known.message)
        finally:
            self._done[part.name].set()

    def _build(self, part: Part, build: builds.Build) -> None:
        folder = build.folder(self.lab.builds)
        if folder.is_dir():
            return
        with self._compilers.turn(build.name) if build.processor else nullcontext():
            start = time.monotonic()
            self.progress.say(part.name, "building", f"{build.name} {build.version}")
            build.ensure(self.lab.builds, lambda line: self.progress.say(part.name, "building", line))
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        self.progress.say(part.name, "built", f"{size / 1e6:.0f} MB", time.monotonic() - start)

    def _start(self, part: Part) -> None:
        self.progress.say(part.name, "starting")
        for program in part.programs:
            if self.supervisor.state(program) not in ("STARTING", "RUNNING", "BACKOFF"):
                with suppress(xmlrpc.client.Fault):  # why it does not start is seen while waiting for it
                    self.supervisor.ask("startProcess", program, False)
        end = time.monotonic() + PATIENCE
        while not part.ready(self.lab):
            for program in part.programs:
                self._complain_if_dead(program)
            if time.monotonic() > end:
                raise InfrastructureError(f"no answer after {PATIENCE:.0f} s; see {self.lab.log}")
            time.sleep(0.25)

    def _complain_if_dead(self, program: str) -> None:
        if (state := self.supervisor.state(program)) in ("FATAL", "EXITED", "STOPPED"):
            log = self.lab.log / f"{program}.log"
            tail = log.read_text(errors="replace").splitlines()[-10:] if log.is_file() else []
            raise InfrastructureError(f"{program} does not stay up ({state.lower()})", details="\n".join(tail))


def _end_builds(lab: Lab) -> None:
    """End the builds that our threads wait for; each is the leader of its process group. The laboratory stays."""
    keep = world.read(lab)
    for task in Path("/proc/self/task").iterdir():
        for word in (task / "children").read_text().split():
            if keep is None or int(word) not in (keep.unshare, keep.slirp):
                with suppress(ProcessLookupError):
                    os.killpg(int(word), signal.SIGTERM)
