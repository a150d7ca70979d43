from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline_tools import masking
from pipeline_tools.errors import InfrastructureError
from pipeline_tools.process import KEPT, ProcessFailed, ProcessTimeout, ToolMissing, run


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
