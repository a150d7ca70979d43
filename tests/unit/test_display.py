"""What is shown of a run: as it was said, and without a trace on the terminal when it is over."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools import cli, display, run
from pipeline_tools.errors import ConfigError
from pipeline_tools.plan import PlannedStep

ROOT = Path(__file__).resolve().parents[2]
STEP = PlannedStep(id="test", step="test", environment=None, summary="test it", needs=())


def test_a_line_is_shown_as_it_was_printed(capsys: pytest.CaptureFixture[str]) -> None:
    shown = display.make("plain")
    shown.step_started(STEP)
    shown.line(STEP, "tests/a.py:100: [red] :+1:")
    shown.note("see a.py:100: x")
    said = capsys.readouterr().err
    assert "tests/a.py:100: [red] :+1:" in said
    assert "a.py:100: x" in said


def test_no_console_takes_a_line_number_for_the_code_of_an_emoji() -> None:
    made = 0
    for file in (*ROOT.glob("pipeline_tools/**/*.py"), *ROOT.glob("lab/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Console"):
                made += 1
                assert any(word.arg == "emoji" for word in node.keywords), f"{file}:{node.lineno}"
    assert made


def test_a_run_that_cannot_begin_gives_the_terminal_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Shown(display.JsonDisplay):
        def close(self) -> None:
            done.append("closed")

    def refuse(*_: Any) -> None:
        raise ConfigError("Another run is at work.")

    (tmp_path / "pipeline.yml").write_text("kind: library\nname: x\nscan: {enabled: false}\n")
    monkeypatch.setattr(run, "execute", refuse)
    make: Callable[..., Any] = lambda *_, **__: Shown()  # noqa: E731
    monkeypatch.setattr(display, "make", make)
    assert cli._catching(lambda: cli.cli.main(args=["run", "--project", str(tmp_path)], standalone_mode=False))() == 2
    assert done == ["closed"]
