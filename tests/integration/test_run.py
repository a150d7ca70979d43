"""The command on a real project with real git and pytest: skipping, failing, interrupting, locking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import eventually

TOOL = [sys.executable, "-m", "pipeline_tools"]
LIBRARY = "kind: library\nname: sample\nscan: {enabled: false}\ntest: {package: [sample]}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small library with one test, committed."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "sample.py").write_text("def double(x: int) -> int:\n    return 2 * x\n")
    (tmp_path / "tests/test_sample.py").write_text(
        "from sample import double\n\n\ndef test_double() -> None:\n    assert double(2) == 4\n"
    )
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "pipeline.yml").write_text(LIBRARY)
    git(tmp_path, "init", "--quiet", "--initial-branch=develop")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "change")


def tool(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run(
        [*TOOL, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def ledger(folder: Path, name: str) -> Any:
    return json.loads((folder / ".pipeline/latest" / name).read_text())


def test_a_run_passes_and_the_next_one_does_not_repeat_it(project: Path) -> None:
    first = tool(project, "run")
    assert first.returncode == 0, first.stderr
    outputs = ledger(project, "steps/test/outputs.json")
    assert (outputs["tests"], outputs["failed"], outputs["coverage_percent"]) == (1, 0, 100.0)
    assert (project / outputs["junit"]).is_file()
    assert "<strong>test</strong>" in (project / ".pipeline/latest/report.html").read_text()

    second = tool(project, "run")
    assert second.returncode == 0
    assert [step["status"] for step in ledger(project, "run.json")["steps"]] == ["unchanged"]

    (project / "sample.py").write_text("def double(x: int) -> int:\n    return x + x\n")
    assert "what it reads changed" in tool(project, "run", "--log-format", "json").stdout
    assert ledger(project, "run.json")["version"].endswith("-dirty")
    assert ledger(project, "run.json")["steps"][0]["status"] == "passed"


def test_a_failing_test_is_a_quality_error_that_names_it(project: Path) -> None:
    (project / "sample.py").write_text("def double(x: int) -> int:\n    return 3\n")
    result = tool(project, "run")
    assert result.returncode == 3
    error = ledger(project, "error.json")
    assert (error["class"], error["step"], error["exit_code"]) == ("quality", "test", 3)
    assert "1 of 1 tests failed" in error["message"]
    assert "test_double" in error["details"]
    assert tool(project, "run").returncode == 3, "a failure is never skipped"


def test_a_coverage_below_what_is_asked_is_told_as_that(project: Path) -> None:
    (project / "sample.py").write_text(
        "def double(x: int) -> int:\n    return 2 * x\n\n\ndef no() -> int:\n    return 1\n"
    )
    settings = LIBRARY.replace("[sample]", "[sample], options: [--cov-fail-under=85]")
    (project / "pipeline.yml").write_text(settings)
    assert tool(project, "run").returncode == 3
    message = ledger(project, "error.json")["message"]
    assert message == (
        "No test failed, but pytest did: Required test coverage of 85% not reached. Total coverage: 75.00%."
    )


def test_tests_that_import_nothing_of_the_package_cover_nothing_of_it(project: Path) -> None:
    (project / "tests/test_sample.py").write_text("def test_nothing() -> None:\n    pass\n")
    result = tool(project, "run")
    assert result.returncode == 0, result.stderr
    assert "no test imports sample" in result.stderr
    outputs = ledger(project, "steps/test/outputs.json")
    assert (outputs["tests"], outputs["coverage_percent"], outputs["coverage"]) == (1, 0.0, None)
    assert tool(project, "run").returncode == 0
    assert ledger(project, "run.json")["steps"][0]["status"] == "unchanged"


def test_a_broken_configuration_has_no_side_effect(project: Path) -> None:
    (project / "pipeline.yml").write_text(LIBRARY + "tset: {}\n")
    result = tool(project, "run")
    assert result.returncode == 2
    assert "Did you mean 'test'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project / ".pipeline").exists()


def test_outside_of_git_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yml").write_text(LIBRARY)
    result = tool(tmp_path, "run")
    assert result.returncode == 2
    assert "git init" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_children_and_the_ledger_tells_it(project: Path, number: signal.Signals) -> None:
    pid_file = project / "child.pid"
    (project / "tests/test_sample.py").write_text(
        "import os, pathlib, subprocess, time\n\n\ndef test_long() -> None:\n"
        "    child = subprocess.Popen(['sleep', '300'])\n"
        f"    pathlib.Path({str(pid_file)!r}).write_text(str(child.pid))\n"
        "    time.sleep(300)\n"
    )
    with subprocess.Popen([*TOOL, "run"], cwd=project, stderr=subprocess.DEVNULL) as process:
        eventually(pid_file.exists)
        process.send_signal(number)
        assert process.wait(30) == 130
    assert ledger(project, "run.json")["steps"][0]["status"] == "interrupted"
    assert ledger(project, "error.json")["class"] == "interrupted"
    child = int(pid_file.read_text())
    eventually(lambda: not alive(child))


def test_two_runs_at_once_are_refused(project: Path) -> None:
    started = project / "started"
    (project / "tests/test_sample.py").write_text(
        "import pathlib, time\n\n\ndef test_long() -> None:\n"
        f"    pathlib.Path({str(started)!r}).touch()\n    time.sleep(60)\n"
    )
    with subprocess.Popen([*TOOL, "run"], cwd=project, stderr=subprocess.DEVNULL) as process:
        eventually(started.exists)
        second = tool(project, "run")
        process.send_signal(signal.SIGINT)
    assert second.returncode == 2
    assert "is at work" in second.stderr


def test_a_step_whose_needs_have_not_passed_says_which(project: Path) -> None:
    (project / "pipeline.yml").write_text("kind: service\nname: sample\nscan: {enabled: false}\n")
    servers = ("--set", "artifactory.url=http://127.0.0.1:9", "--set", "artifactory.docker=127.0.0.1:9/docker")
    result = tool(project, "step", "image", *servers, ARTIFACTORY_USER="someone", ARTIFACTORY_PASSWORD="something")
    assert result.returncode == 2
    assert "needs test, which has not passed yet" in result.stderr


def test_a_missing_credential_is_told_before_anything_is_sent(project: Path) -> None:
    (project / "requirements.txt").write_text("")
    (project / "pipeline.yml").write_text(
        LIBRARY.replace("[sample]", "[sample], requirements: [requirements.txt]")
        + "artifactory: {url: 'http://127.0.0.1:9/artifactory', password: 'env:NOWHERE'}\n"
    )
    cache = str(project / "cache")
    result = tool(project, "run", ARTIFACTORY_USER="someone", PIPELINE_TOOLS_CACHE=cache)
    assert result.returncode == 5
    assert "The environment variable NOWHERE is not set" in result.stderr


def test_a_secret_that_a_test_prints_is_in_no_file_of_the_run(project: Path) -> None:
    secret = "canary-8c1f0f7a2b"
    (project / "tests/test_sample.py").write_text(
        "import os\n\n\ndef test_leak() -> None:\n    raise AssertionError(os.environ['CANARY'])\n"
    )
    (project / "pipeline.yml").write_text(
        "kind: library\nname: sample\nsonarqube: {url: 'http://127.0.0.1:9', token: 'env:CANARY'}\n"
    )
    result = tool(project, "run", CANARY=secret)
    assert result.returncode == 3
    assert secret not in result.stdout + result.stderr
    for file in (project / ".pipeline").rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_two_runs_that_want_the_same_environment_make_it_once(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    (project / "requirements.txt").write_text("iniconfig\n")
    (project / "pipeline.yml").write_text(LIBRARY.replace("sample]}", "sample], requirements: [requirements.txt]}"))
    commit(project)
    other = tmp_path_factory.mktemp("other") / "project"
    git(project, "clone", "--quiet", ".", str(other))
    with ThreadPoolExecutor() as both:
        runs = list(both.map(lambda folder: tool(folder, "run", PIPELINE_TOOLS_CACHE=str(cache)), (project, other)))
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert sum("making the tests' environment" in run.stderr for run in runs) == 1


def test_a_changed_file_that_a_requirements_file_names_makes_another_environment(project: Path, tmp_path: Path) -> None:
    (project / ".gitignore").write_text("limits.txt\n")
    (project / "requirements.txt").write_text("-c limits.txt\niniconfig\n")
    (project / "limits.txt").write_text("iniconfig==2.0.0\n")
    (project / "pipeline.yml").write_text(LIBRARY.replace("sample]}", "sample], requirements: [requirements.txt]}"))
    commit(project)
    cache = str(tmp_path / "cache")
    said = [tool(project, "run", PIPELINE_TOOLS_CACHE=cache).stderr]
    said.append(tool(project, "run", PIPELINE_TOOLS_CACHE=cache).stderr)
    (project / "limits.txt").write_text("iniconfig==2.1.0\n")
    said.append(tool(project, "run", PIPELINE_TOOLS_CACHE=cache).stderr)
    assert ["making the tests' environment" in each for each in said] == [True, False, True], said
    assert len(list((tmp_path / "cache/environments").glob("*/lib/*/site-packages/iniconfig-2.1.0.dist-info"))) == 1
    (project / "limits.txt").unlink()
    assert "limits.txt in one of its files, which does not exist" in tool(project, "run").stderr
