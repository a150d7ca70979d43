"""The one module that starts processes.

Every call has a timeout; the child gets a process group of its own, which is ended as a whole on a timeout, Ctrl-C or
SIGTERM, so that no grandchild outlives us. What a child prints is masked on its way to a log or an error.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline_tools.errors import InfrastructureError
from pipeline_tools.masking import LineStream, mask

# How long a child may take to end after SIGTERM before it is killed, in seconds.
GRACE = 5.0
# How much of an output is kept when a log has all of it, in bytes: memory stays flat however much a child prints.
KEPT = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a process did, and ``seconds`` of wall time.

    Its output is as it came (unmasked: it is data); of an output that went to a log, the last KEPT bytes.
    """

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    seconds: float


class ToolMissing(InfrastructureError):
    """The program is not installed or not on PATH."""

    transient = False


class ProcessTimeout(InfrastructureError):
    """The process was ended because it took too long; another try would take as long."""

    transient = False


class ProcessFailed(InfrastructureError):
    """The process ended with an exit code that its caller does not accept."""

    def __init__(self, result: Result) -> None:
        super().__init__(
            f"{result.argv[0]} exited with {result.exit_code}: {shown(result.argv)}",
            details=_tail(result.stderr.strip() or result.stdout.strip()),
        )
        self.result = result


def shown(argv: Sequence[str | Path]) -> str:
    """The command as one could paste it into a shell, masked."""
    return mask(shlex.join(str(word) for word in argv))


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    log: Callable[[str], None] | None = None,
    ok: Collection[int] = (0,),
) -> Result:
    """Run a program to its end.

    Args:
        argv: program and arguments; no shell is involved. Never put a secret here: use ``env`` or ``stdin``.
        timeout: seconds after which the process group is ended.
        env: variables added to ours.
        log: called with every line of output as it comes (masked, without the newline), and first with the command.
            A line that could be the beginning of a secret waits for the next one.
        ok: exit codes that are no failure.

    Raises:
        ToolMissing, ProcessTimeout, ProcessFailed: all of the infrastructure class; a caller that knows better what
            an exit code means (pytest's 1 is a failed test) lists it in ``ok`` and decides.
    """
    words = tuple(str(word) for word in argv)
    if log:
        log(f"$ {shown(words)}")
    start = time.monotonic()
    try:
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise InfrastructureError(f"The folder {cwd} does not exist; {words[0]} cannot run in it.") from error
        raise ToolMissing(
            f"{words[0]} is not installed or not on PATH.", hint="Run `pipeline-tools doctor`."
        ) from error
    except PermissionError as error:
        raise ToolMissing(f"{words[0]} is not executable.") from error

    assert child.stdout is not None and child.stderr is not None
    outputs = (_Output(child.stdout, log), _Output(child.stderr, log))
    readers = [threading.Thread(target=output.read, daemon=True) for output in outputs]
    for reader in readers:
        reader.start()
    try:
        if stdin is not None:
            _feed(child, stdin)
        code = child.wait(timeout)
    except subprocess.TimeoutExpired as error:
        _end_group(child)
        raise ProcessTimeout(
            f"{words[0]} was stopped after {timeout:.0f} s: {shown(words)}",
            details=_tail(outputs[1].text() or outputs[0].text()),
        ) from error
    finally:
        # also what the child left in the background, which would hold the pipes open
        _end_group(child)
        for reader in readers:
            reader.join(GRACE)
    result = Result(
        argv=words,
        exit_code=code,
        stdout=outputs[0].text(),
        stderr=outputs[1].text(),
        seconds=time.monotonic() - start,
    )
    if code not in ok:
        raise ProcessFailed(result)
    return result


def supervise(
    argv: Sequence[str | Path],
    *,
    stdin: bytes,
    line: Callable[[str], None],
    stop: threading.Event,
    grace: float,
    keep: Collection[int] = (),
) -> int:
    """Run a program of ours to its end, or until ``stop`` is set; returns its exit code, negative for a signal.

    Args:
        stdin: what it reads.
        line: called with every line of its output, standard error included, as it comes.
        stop: when set, the program gets SIGTERM and ``grace`` seconds to clean up before it is killed.
        keep: descriptors that it inherits: a lock, which then is held for as long as the program lives.
    """
    child = subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(keep),
    )
    assert child.stdout is not None
    reader = threading.Thread(target=_read, args=(child.stdout, line), daemon=True)
    reader.start()
    _feed(child, stdin)
    try:
        while child.poll() is None:
            if stop.wait(0.05):
                _signal_group(child.pid, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    child.wait(grace)
                break
    finally:
        _signal_group(child.pid, signal.SIGKILL)
        child.wait(GRACE)
        reader.join(GRACE)
    return child.returncode


def _read(stream: IO[bytes], take: Callable[[str], None]) -> None:
    with stream:
        for raw in stream:
            take(raw.decode(errors="replace").rstrip("\r\n"))


def _tail(text: str) -> str:
    # masked as a whole: a secret may begin above the last lines
    return "\n".join(mask(text).splitlines()[-20:])


class _Output:
    """What a child prints on one of its pipes."""

    def __init__(self, pipe: IO[bytes], log: Callable[[str], None] | None) -> None:
        self._pipe = pipe
        self._log = log
        self._kept: deque[bytes] = deque()
        self._size = 0

    def read(self) -> None:
        """Read to the end; for a thread of its own."""
        masked = LineStream()
        with self._pipe:
            while chunk := os.read(self._pipe.fileno(), 1 << 16):
                self._keep(chunk)
                if self._log:
                    for line in masked.feed(chunk):
                        self._log(line)
        if self._log:
            for line in masked.flush():
                self._log(line)

    def _keep(self, chunk: bytes) -> None:
        self._kept.append(chunk)
        self._size += len(chunk)
        while self._log and self._size - len(self._kept[0]) >= KEPT:
            self._size -= len(self._kept.popleft())

    def text(self) -> str:
        """What is kept; every line ends with ``\\n``."""
        # a copy: after a timeout the thread may still be reading
        text = b"".join(tuple(self._kept)).decode(errors="replace").replace("\r\n", "\n")
        return text if text.endswith("\n") or not text else text + "\n"


def _feed(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    # a child that ends without reading breaks the pipe: its exit code tells why
    with suppress(BrokenPipeError):
        child.stdin.write(data)
    with suppress(BrokenPipeError):
        child.stdin.close()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End what is left of the child's process group, politely first."""
    for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        if child.poll() is not None and number == signal.SIGTERM:
            _signal_group(child.pid, signal.SIGKILL)  # the child is done: whatever it left behind goes at once
            return
        _signal_group(child.pid, number)
        try:
            child.wait(wait)
        except subprocess.TimeoutExpired:
            continue
        _signal_group(child.pid, signal.SIGKILL)
        return


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
