from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import threading
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools import masking
from pipeline_tools.errors import InfrastructureError
from pipeline_tools.process import (
    HELD_BACK,
    KEPT,
    LOST,
    ProcessFailed,
    ProcessTimeout,
    ToolMissing,
    prepare,
    run,
    supervise,
)
from tests.waiting import eventually


def test_output_comes_line_by_line_and_masked() -> None:
    masking.register("hush-hush-17")
    lines: list[str] = []
    result = run(["sh", "-c", "echo one; echo hush-hush-17 >&2"], timeout=10, log=lines.append)
    assert (result.stdout, result.stderr) == ("one\n", "hush-hush-17\n")
    assert "one" in lines
    assert "****" in lines
    assert not any("hush-hush-17" in line for line in lines)


def test_a_secret_that_comes_in_parts_or_over_two_lines_is_masked() -> None:
    masking.register("hush-hush-17")
    lines: list[str] = []
    run(["sh", "-c", "printf 'a hush-'; sleep 0.2; printf 'hush-17 b\\nhush\\n-hush-17'"], timeout=10, log=lines.append)
    assert lines[1:] == ["a **** b", "****", "****"]


def test_an_endless_output_is_logged_whole_and_kept_in_part() -> None:
    masking.register("hush-hush-17")
    seen = 0

    def count(line: str) -> None:
        nonlocal seen
        seen += 1
        assert "hush" not in line

    result = run(["sh", "-c", "yes hush-hush-17 | head -n 1000000; echo end"], timeout=60, log=count)
    assert seen == 1_000_002
    assert len(result.stdout) < 2 * KEPT
    assert result.stdout.endswith("hush-hush-17\nend\n")


def test_an_exit_code_that_is_not_expected_is_an_error_with_the_output() -> None:
    with pytest.raises(ProcessFailed) as caught:
        run(["sh", "-c", "echo because >&2; exit 7"], timeout=10)
    assert caught.value.result.exit_code == 7
    assert caught.value.details == "because"
    assert run(["sh", "-c", "exit 7"], timeout=10, ok=(7,)).exit_code == 7


def test_a_timeout_ends_grandchildren_too(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    begun = time.monotonic()
    with pytest.raises(ProcessTimeout):
        run(["sh", "-c", f"sleep 100 & echo $! > {pid_file}; wait"], timeout=1)
    assert time.monotonic() - begun < 20
    _gone(int(pid_file.read_text()))


def test_a_grandchild_left_behind_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    run(["sh", "-c", f"sleep 100 >/dev/null 2>&1 & echo $! > {pid_file}"], timeout=10)
    _gone(int(pid_file.read_text()))


def test_a_program_or_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="no-such-tool is not installed"):
        run(["no-such-tool"], timeout=1)
    with pytest.raises(InfrastructureError, match="does not exist"):
        run(["true"], timeout=1, cwd=tmp_path / "none")


def test_input_is_given_and_need_not_be_read() -> None:
    assert run(["cat"], timeout=10, stdin=b"text").stdout == "text\n"
    run(["true"], timeout=10, stdin=b"x" * 1_000_000)


def test_a_timeout_of_months_is_one() -> None:
    assert run(["true"], timeout=90 * 24 * 3600).exit_code == 0


def _tells(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
    os.system(f"echo {text} of a child")
    assert os.getsid(0) == os.getpid()
    sys.exit(7)


def _is_killed(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _is_killed_by_its_tool(pid_file: str) -> None:
    run(["sh", "-c", f"sleep 100 & echo $! > {pid_file}; kill -KILL $PPID; wait"], timeout=60)


def _leaves_someone(pid_file: str) -> None:
    pid = os.fork()
    if pid == 0:
        time.sleep(100)
    Path(pid_file).write_text(str(pid))


def _waits(pid_file: str) -> None:
    """Ends with 3 when it is told to."""

    def ends(number: int, frame: object) -> None:
        sys.exit(3)

    time.sleep(0.5)  # a signal that comes now is not lost
    signal.signal(signal.SIGTERM, ends)
    Path(pid_file).write_text(str(os.getpid()))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    time.sleep(100)


def _ignores(_: object) -> None:
    time.sleep(100)


def _supervised(work: Any, argument: object, *, after: float | None = None, keep: tuple[int, ...] = ()) -> Any:
    """Exit code and lines of a process that is told to stop ``after`` so many seconds."""
    prepare("tests.integration.test_process")
    lines: list[str] = []
    stop = threading.Event()
    if after is not None:
        threading.Timer(after, stop.set).start()
    code = supervise(work, argument, line=lines.append, stop=stop, grace=2, keep=keep)
    return code, lines


def test_a_process_of_ours_is_seen_to_its_end() -> None:
    assert _supervised(_tells, "one") == (7, ["one", "one of a child"])


def test_a_kill_of_one_process_is_told() -> None:
    assert _supervised(_is_killed, None)[0] == -signal.SIGKILL


def test_the_tools_of_a_process_that_was_killed_are_ended(tmp_path: Path) -> None:
    assert _supervised(_is_killed_by_its_tool, str(tmp_path / "pid"))[0] == -signal.SIGKILL
    _gone(int((tmp_path / "pid").read_text()))


def test_a_tool_of_ours_has_no_terminal_to_ask_at() -> None:
    code = "import os; print(os.getsid(0) == os.getpid())"
    assert run([sys.executable, "-c", code], timeout=10).stdout == "True\n"


def test_what_a_process_leaves_behind_is_ended(tmp_path: Path) -> None:
    assert _supervised(_leaves_someone, str(tmp_path / "pid"))[0] == 0
    _gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("after", [0.0, 0.1, 1.5])
def test_it_may_clean_up_when_it_is_told_to_stop_at_whatever_moment(tmp_path: Path, after: float) -> None:
    assert _supervised(_waits, str(tmp_path / "pid"), after=after)[0] == 3


def test_one_that_does_not_stop_is_killed() -> None:
    begun = time.monotonic()
    assert _supervised(_ignores, None, after=0.2)[0] == -signal.SIGKILL
    assert time.monotonic() - begun < 10


def test_a_lock_is_held_for_as_long_as_the_process_lives(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    thread = threading.Thread(target=_supervised, args=(_waits, str(tmp_path / "pid")), kwargs={"keep": (descriptor,)})
    thread.start()
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.close(descriptor)
    other = os.open(tmp_path / "lock", os.O_RDWR)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    thread.join(10)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_when_the_process_that_others_are_forked_from_is_killed_they_end_and_the_next_one_begins(
    tmp_path: Path,
) -> None:
    prepare("tests.integration.test_process")
    before = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(_supervised(_waits, str(tmp_path / "pid"))))
    thread.start()
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(before, signal.SIGKILL)
    thread.join(20)
    assert ended[0][0] == LOST
    _gone(int((tmp_path / "pid").read_text()))
    assert _supervised(_tells, "two")[0] == 7


def test_one_that_begins_before_it_is_seen_that_the_process_to_fork_from_was_killed_begins_a_moment_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare("tests.integration.test_process")
    server: Any = forkserver._forkserver
    look = server.ensure_running
    looks: list[int] = []

    def look_too_early() -> None:
        looks.append(server._forkserver_pid)
        if len(looks) == 1:
            os.kill(server._forkserver_pid, signal.SIGKILL)
            _gone(server._forkserver_pid)
        else:
            look()

    monkeypatch.setattr(server, "ensure_running", look_too_early)
    lines: list[str] = []
    assert supervise(_tells, "one", line=lines.append, stop=threading.Event(), grace=2) == 7
    assert (lines, len(looks)) == (["one", "one of a child"], 2)


def test_a_signal_to_us_does_not_end_the_process_to_fork_from_that_was_begun_anew() -> None:
    prepare("tests.integration.test_process")
    server: Any = forkserver._forkserver
    os.kill(server._forkserver_pid, signal.SIGKILL)
    _gone(server._forkserver_pid)
    assert supervise(_tells, "one", line=lambda _: None, stop=threading.Event(), grace=2) == 7
    (blocked,) = re.findall(r"^SigBlk:\s*(\w+)$", Path(f"/proc/{server._forkserver_pid}/status").read_text(), re.M)
    assert {number for number in HELD_BACK if int(blocked, 16) >> number - 1 & 1} == HELD_BACK


def _gone(pid: int) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    raise AssertionError(f"{pid} still runs")
