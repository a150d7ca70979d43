"""The one module that starts processes.

Every call has a timeout; the child gets a process group of its own, which is ended as a whole on a timeout, Ctrl-C or
SIGTERM, so that no grandchild outlives us. A process of `supervise` has a session, in which its children stay: if it is
killed, they are found by that. What a child prints is masked on its way to a log or an error.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from pipeline_tools.errors import InfrastructureError
from pipeline_tools.masking import LineStream, mask

# How long a child may take to end after SIGTERM before it is killed, in seconds.
GRACE = 5.0
# How much of an output is kept when a log has all of it, in bytes: memory stays flat however much a child prints.
KEPT = 1 << 20
# The signals that a process of `supervise` begins without.
HELD_BACK = frozenset({signal.SIGINT, signal.SIGTERM})
# The exit code of a process of `supervise` that nobody can tell: the process that it was forked from was killed.
LOST = 255
# The longest that the kernel can be asked to wait, in milliseconds.
LONGEST_WAIT = 2**31 - 1

_supervised = False  # this is a process of `supervise`

_ONE_BY_ONE = threading.Lock()  # a start also asks how the others ended, and only one may be told


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a process did, and ``seconds`` of wall time.

    Its output is as it came (unmasked: it is data); of an output that went to a log, the last KEPT bytes. What of it is
    not UTF-8 is replaced, unless it was asked for as ``names``.
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
    names: bool = False,
) -> Result:
    """Run a program to its end.

    Args:
        argv: program and arguments; no shell is involved. Never put a secret here: use ``env`` or ``stdin``.
        timeout: seconds after which the process group is ended.
        env: variables added to ours.
        log: called with every line of output as it comes (masked, without the newline), and first with the command.
            A line that could be the beginning of a secret waits for the next one.
        ok: exit codes that are no failure.
        names: its output has names of files, which Python takes as `os.fsdecode` gives them, UTF-8 or not.

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
            # a session as well where we may have a terminal: at one in the background a question stops who asks it
            start_new_session=not _supervised,
            process_group=0 if _supervised else None,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise InfrastructureError(f"The folder {cwd} does not exist; {words[0]} cannot run in it.") from error
        raise ToolMissing(
            f"{words[0]} is not installed or not on PATH.",
            hint="Install it, or put its folder on PATH; `pipeline-tools doctor` looks at the rest.",
        ) from error
    except PermissionError as error:
        raise ToolMissing(f"{words[0]} is not executable.") from error

    assert child.stdout is not None and child.stderr is not None
    outputs = (_Output(child.stdout, log, names=names), _Output(child.stderr, log))
    readers = [threading.Thread(target=output.read, daemon=True) for output in outputs]
    for reader in readers:
        reader.start()
    try:
        if stdin is not None:
            _feed(child, stdin)
        code = _wait(child, timeout)
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


def prepare(module: str) -> None:
    """Begin to start the process that `supervise` has its own forked from, with ``module`` imported in it.

    It ends with us and the last of them. Where it is not called, the first `supervise` waits for that process, and
    each for its imports.
    """
    from multiprocessing import forkserver, resource_tracker

    resource_tracker.ensure_running()  # it would let the signals through again
    with _held_back():
        forkserver.set_forkserver_preload([module])
        forkserver.ensure_running()


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold signals back in this thread, and in the process that others are forked from, if it is begun meanwhile.

    Whoever is forked from it has handlers of its own before a signal reaches it, and Ctrl-C never ends it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def supervise(
    work: Callable[[Any], None],
    argument: object,
    *,
    line: Callable[[str], None],
    stop: threading.Event,
    grace: float,
    keep: Collection[int] = (),
) -> int:
    """Call ``work(argument)`` in a process of its own, to its end or until ``stop`` is set; see `prepare`.

    The process has a session of its own. ``work`` must be importable and let the signals of HELD_BACK through when it
    is ready for them.

    Args:
        line: called with every line of its output, standard error included, as it comes.
        stop: when set, the process gets SIGTERM and ``grace`` seconds to clean up before it is killed.
        keep: descriptors that it inherits: a lock, which then is held for as long as the process lives.

    Returns:
        Its exit code, negative for a signal, LOST when nobody can tell.
    """
    from multiprocessing import connection, get_context

    reading, writing = os.pipe()
    inherited = [_Descriptor(number) for number in (writing, *keep)]
    # should we end before it, it is told to: a daemon in Python's words
    child = get_context("forkserver").Process(target=_begin, args=(work, argument, inherited), daemon=True)
    try:
        with _ONE_BY_ONE, _held_back():
            try:
                child.start()
            except ConnectionRefusedError:
                # what processes are forked from was killed, and is seen to be gone, and begun anew, a moment later
                time.sleep(0.2)
                child.start()
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    assert child.pid is not None
    reader = threading.Thread(target=_read, args=(os.fdopen(reading, "rb"), line), daemon=True)
    reader.start()
    try:
        while not connection.wait([child.sentinel], 0.05):
            if stop.is_set():
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGTERM)  # it may not have a session yet
                connection.wait([child.sentinel], grace)
                break
    finally:
        _end_session(child.pid)
        with _ONE_BY_ONE:
            child.join(GRACE)
        reader.join(GRACE)
    return LOST if child.exitcode is None else child.exitcode


class _Descriptor:
    """A descriptor that becomes another process's own on its way there."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Callable[[Any], _Descriptor], tuple[Any]]:
        from multiprocessing import reduction

        return _arrived, (reduction.DupFd(self.number),)


def _arrived(duplicate: Any) -> _Descriptor:
    return _Descriptor(duplicate.detach())


def _begin(work: Callable[[Any], None], argument: object, inherited: Sequence[_Descriptor]) -> None:
    """The beginning of a process of `supervise`."""
    global _supervised
    os.setsid()
    _supervised = True
    output = inherited[0].number
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    work(argument)


def _read(stream: IO[bytes], take: Callable[[str], None]) -> None:
    with stream:
        for raw in stream:
            take(raw.decode(errors="replace").rstrip("\r\n"))


def _tail(text: str) -> str:
    # masked as a whole: a secret may begin above the last lines
    return "\n".join(mask(text).splitlines()[-20:])


class _Output:
    """What a child prints on one of its pipes."""

    def __init__(self, pipe: IO[bytes], log: Callable[[str], None] | None, *, names: bool = False) -> None:
        self._decode = os.fsdecode if names else partial(bytes.decode, errors="replace")
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
        text = self._decode(b"".join(tuple(self._kept))).replace("\r\n", "\n")
        return text if text.endswith("\n") or not text else text + "\n"


def _feed(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    # a child that ends without reading breaks the pipe: its exit code tells why
    with suppress(BrokenPipeError):
        child.stdin.write(data)
    with suppress(BrokenPipeError):
        child.stdin.close()


def _wait(child: subprocess.Popen[bytes], timeout: float) -> int:
    """The exit code, at once when there is one: `Popen.wait` looks only every 50 ms when it has a timeout."""
    if not hasattr(os, "pidfd_open"):  # not Linux
        return child.wait(timeout)
    descriptor = os.pidfd_open(child.pid)
    try:
        ended = select.poll()
        ended.register(descriptor, select.POLLIN)
        ended.poll(min(timeout * 1000, LONGEST_WAIT))
    finally:
        os.close(descriptor)
    return child.wait(0)


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


def _end_session(leader: int) -> None:
    """Kill what is left of a session: its leader, if it still is there, and then what that had begun."""
    import psutil

    _signal_group(leader, signal.SIGKILL)
    ended: set[int] = set()
    while left := {pid for pid in psutil.pids() if pid not in ended and _session(pid) == leader}:
        for pid in left:  # they may have begun others meanwhile
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        ended |= left


def _session(pid: int) -> int | None:
    with suppress(OSError):  # it has just ended, or is none of ours
        return os.getsid(pid)
    return None


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
