"""The page of a run, whatever the clock did meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tools.report.html import Bar, bar, write
from pipeline_tools.run import RunRecord, StepRecord


@pytest.mark.parametrize(("seconds", "whole"), [(5.0, 0.0), (5.0, 20.0), (30.0, 0.0)])
def test_a_clock_that_is_set_back_leaves_a_report(seconds: float, whole: float, tmp_path: Path) -> None:
    step = StepRecord(id="test", summary="", status="passed", started="2026-01-01T09:59:55+00:00", seconds=seconds)
    record = RunRecord(
        id="1",
        project="p",
        version="1",
        commit="c",
        branch="",
        folder=tmp_path,
        started="2026-01-01T10:00:00+00:00",
        seconds=whole,
        steps=[step],
    )
    assert bar(step, record) == Bar(begin=0.0, length=100 * seconds / max(seconds, whole))
    write(record, tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
