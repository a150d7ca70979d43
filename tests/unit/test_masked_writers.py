"""What leaves us is masked and still what it is: JSON, HTML and XML stay whole, whatever the secret looks like."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline_tools import ledger, masking
from pipeline_tools.display import JsonDisplay
from pipeline_tools.masking import MASK
from pipeline_tools.report import html, terminal
from pipeline_tools.run import RunRecord, StepRecord
from pipeline_tools.steps.test import _report


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Registers secrets that no other test sees."""
    monkeypatch.setattr(masking._MASKER, "_pieces", set())
    monkeypatch.setattr(masking._MASKER, "_scanner", None)
    return masking.register


SECRETS = pytest.mark.parametrize("secret", ['", "', "event", "<b>&'\"x", "hush-hush-17", "1234.5"])


@SECRETS
def test_json_files_and_events_stay_json(secret: str, register: Callable[[str], None], tmp_path: Path) -> None:
    register(secret)
    ledger.write_json(tmp_path / "run.json", {"a": secret, "list": [1, f"<{secret}>"], "other": "kept"})
    assert json.loads((tmp_path / "run.json").read_text()) == {"a": MASK, "list": [1, f"<{MASK}>"], "other": "kept"}
    event = ledger.Run(tmp_path, "1", lock=-1).event("step failed", message=f"no {secret}")
    assert event["message"] == f"no {MASK}"
    assert json.loads((tmp_path / "events.jsonl").read_text()) == event


@SECRETS
def test_events_on_standard_output_stay_json(
    secret: str, register: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    register(secret)
    JsonDisplay().event({"text": f"say {secret}", "other": "kept"})
    assert json.loads(capsys.readouterr().out) == {"text": f"say {MASK}", "other": "kept"}


def _record(folder: Path, secret: str) -> RunRecord:
    outputs = {"address": f"https://u:{secret}@host/", "list": [secret]}
    step = StepRecord(id="image", summary="build it", status="passed", outputs=outputs)
    error = {"class": "quality", "message": f"m {secret}", "details": f"d {secret}", "hint": "", "link": "", "step": ""}
    return RunRecord(
        id="1",
        project="p",
        version="1",
        commit="c",
        branch=secret,
        folder=folder,
        started="2026-01-01T00:00:00+00:00",
        steps=[step],
        errors=[error],
    )


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("secret", ["table", "<b>&'\"x", "hush-hush-17"])
def test_the_page_of_a_run_is_masked_and_stays_a_page(
    secret: str, register: Callable[[str], None], tmp_path: Path
) -> None:
    html.write(_record(tmp_path, "nothing-secret"), tmp_path / "plain.html")
    register(secret)
    html.write(_record(tmp_path, secret), tmp_path / "report.html")
    pages = []
    for name in ("plain.html", "report.html"):
        page = _Page()
        page.feed((tmp_path / name).read_text(encoding="utf-8"))
        pages.append(page)
    plain, masked = pages
    assert [tag for tag in masked.tags if tag != "a"] == [tag for tag in plain.tags if tag != "a"]
    body = masked.text.rpartition("}")[2]  # what comes after the styles
    assert secret not in body
    assert body.count(MASK) == 5


def test_the_summary_on_the_terminal_is_masked(
    register: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register("hush-hush-17")
    record = _record(tmp_path, "hush-hush-17")
    terminal.summary(record)
    said = capsys.readouterr().err
    assert "hush" not in said
    assert said.count(MASK) == 4


def test_a_junit_report_is_masked_and_stays_xml(register: Callable[[str], None], tmp_path: Path) -> None:
    register("testcase")
    register("a<b&c")
    (tmp_path / "raw.xml").write_text(
        '<testsuites><testsuite tests="2" failures="1" errors="0" skipped="0"><testcase name="t[a&lt;b&amp;c]">'
        "<system-out>the testcase prints a&lt;b&amp;c</system-out></testcase><testcase name='ñ'/>"
        "</testsuite></testsuites>",
        encoding="utf-8",
    )
    assert _report(tmp_path / "raw.xml", tmp_path / "junit.xml") == {"tests": 2, "failed": 1, "skipped": 0}
    cases = list(ET.parse(tmp_path / "junit.xml").iter("testcase"))
    assert [case.get("name") for case in cases] == [f"t[{MASK}]", "ñ"]
    assert cases[0].findtext("system-out") == f"the {MASK} prints {MASK}"
