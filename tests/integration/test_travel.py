"""The ledger goes to Artifactory and a checkout elsewhere goes on from it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.steps_project import ENVIRONMENT, Project
from tests.integration.test_artifactory import DEPLOYER, host, ours, url

__all__ = ["host", "ours", "url"]


@pytest.fixture
def platform(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "platform.yml"
    file.write_text(
        f"run: {{ledger: artifactory}}\nartifactory: {{url: '{url}', username: env:USER_, password: env:PASS_}}\n"
    )
    monkeypatch.setitem(ENVIRONMENT, "USER_", DEPLOYER[0])
    monkeypatch.setitem(ENVIRONMENT, "PASS_", DEPLOYER[1])
    return file


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "here").mkdir()
    made = Project(tmp_path / "here")
    made.does("left", "(ctx.out / 'report.txt').write_text('left was here')\nresult = {'made': 'left'}")
    return made


def elsewhere(project: Project, name: str) -> Project:
    """The same sources in another folder, without the ledger."""
    folder = project.folder.parent / name
    subprocess.run(["cp", "-r", project.folder, folder], check=True)
    subprocess.run(["rm", "-rf", folder / ".pipeline"], check=True)
    there = object.__new__(Project)
    there.folder = folder
    return there


def test_a_run_elsewhere_goes_on_from_what_passed_here(project: Project, platform: Path) -> None:
    project.does("last", "from pipeline_tools.errors import *\nraise QualityError('not yet')")
    assert project.run("run", "--platform", str(platform))[0] == 3
    there = elsewhere(project, "there")
    there.does("last", "")
    code, said = there.run("run", "--platform", str(platform))
    assert code == 0, said
    assert "from the ledger in Artifactory: first, left, right" in said
    assert there.statuses() == {"first": "unchanged", "left": "unchanged", "right": "unchanged", "last": "passed"}


def test_files_of_a_step_travel_with_it_and_the_newer_record_counts(project: Project, platform: Path) -> None:
    assert project.run("run", "--platform", str(platform))[0] == 0
    there = elsewhere(project, "there")
    code, said = there.run("run", "--platform", str(platform))
    assert code == 0, said
    assert "from the ledger in Artifactory: first, last, left, right" in said
    assert set(there.statuses().values()) == {"unchanged"}
    assert [file.read_text() for file in there.folder.glob(".pipeline/runs/*/steps/left/report.txt")] == [
        "left was here"
    ]
    again = there.run("run", "--platform", str(platform))[1]
    assert "nothing newer" in again


def test_without_the_ledger_or_with_a_damaged_one_steps_are_repeated(
    project: Project, platform: Path, url: str, tmp_path: Path
) -> None:
    assert project.run("run", "--platform", str(platform))[0] == 0
    subprocess.run(
        [
            "curl",
            "--fail",
            "--silent",
            "--user",
            ":".join(DEPLOYER),
            "--upload-file",
            "-",
            f"{url}/generic-local/pipeline-tools/ledgers/sample/master/99991231T000000-x.tar.gz",
        ],
        input=b"no archive",
        check=True,
        capture_output=True,
    )
    there = elsewhere(project, "there")
    code, said = there.run("run", "--platform", str(platform))
    assert code == 0
    assert "warning: the ledger could not be fetched: The ledger 99991231T000000-x.tar.gz is damaged." in said
    assert set(there.statuses().values()) == {"passed"}
    code, said = there.run(
        "run", "--platform", str(platform), "--set", "artifactory.url=http://127.0.0.1:9/artifactory"
    )
    assert code == 0
    assert said.count("warning: the ledger could not be") == 2
