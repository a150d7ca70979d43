"""Running a plan: side by side, failing, trying again, interrupted, killed and resumed. Steps are real processes."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.steps_project import ENVIRONMENT, TOOL, Project
from tests.waiting import eventually


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


MEET = """
import time
(HERE / '{me}').touch()
end = time.monotonic() + 60
while not (HERE / '{other}').exists():
    assert time.monotonic() < end, 'the other one does not run beside me'
    time.sleep(0.01)
for number in range(50):
    ctx.log(f'{me} {{number}}')
    time.sleep(0.005)
"""


def test_independent_steps_run_side_by_side_and_their_output_does_not_interleave(project: Project) -> None:
    for me, other in (("left", "right"), ("right", "left")):
        project.does(me, MEET.format(me=me, other=other))
    code, said = project.run("run", "--set", "run.jobs=2")
    assert code == 0, said
    lines = [line.split(" | ")[0].strip() for line in said.splitlines() if " | " in line]
    assert len(lines) == 100
    assert sum(one != two for one, two in itertools.pairwise(lines)) == 1, "one block after the other"


ALONE = """
import time
assert not (HERE / 'busy').exists()
(HERE / 'busy').touch()
time.sleep(0.5)
(HERE / 'busy').unlink()
"""


@pytest.mark.parametrize("bound", ["run.jobs=1", "run.memory=300Mi"])
def test_as_many_steps_at_a_time_as_there_is_room_for(project: Project, bound: str) -> None:
    for me in ("left", "right"):
        project.does(me, ALONE)
    code, said = project.run("run", "--set", "run.jobs=2", "--set", bound)
    assert code == 0, said


def test_a_failure_stops_what_depends_on_it_and_every_failure_is_told(project: Project) -> None:
    raises = "from pipeline_tools.errors import *\nraise {}"
    project.does("right", raises.format("QualityError('right is wrong', hint='mend it')"))
    code, said = project.run()
    assert code == 3
    assert project.statuses() == {"first": "passed", "left": "passed", "right": "failed", "last": "not run"}
    assert "it needs right: failed" in said

    project.does("left", raises.format("ConfigError('left is wrong')"))
    code, said = project.run()
    assert code == 2, "the first in the order of the plan decides"
    error = project.read("error.json")
    assert (error["step"], error["message"]) == ("left", "left is wrong")
    assert [(other["step"], other["hint"]) for other in error["others"]] == [("right", "mend it")]
    assert "left is wrong" in said
    assert "right is wrong" in said
    assert project.statuses()["first"] == "unchanged"


FAILS_TWICE = """
from pipeline_tools.errors import *
tries = HERE / 'tries'
tries.write_text(tries.read_text() + 'x' if tries.exists() else 'x')
if len(tries.read_text()) <= 2:
    raise {}('the server is away')
"""


def test_only_what_may_succeed_is_tried_again(project: Project) -> None:
    project.does("left", FAILS_TWICE.format("InfrastructureError"))
    code, said = project.run()
    assert code == 0, said
    assert [(event["step"], event["attempt"]) for event in project.events("step retried")] == [("left", 1), ("left", 2)]
    assert project.read("run.json")["steps"][1]["attempts"] == 3
    assert "the server is away Trying again in" in said

    (project.folder / "tries").unlink()
    project.does("left", FAILS_TWICE.format("QualityError"))
    assert project.run()[0] == 3
    assert project.events("step retried") == []


def test_a_run_tries_again_as_often_as_its_budget_allows(project: Project) -> None:
    project.does("left", "from pipeline_tools.errors import *\nraise InfrastructureError('away')")
    project.does("right", "from pipeline_tools.errors import *\nraise InfrastructureError('away')")
    assert project.run("run", "--set", "run.retries=3", "--set", "run.attempts=10")[0] == 4
    assert len(project.events("step retried")) == 3


def test_a_step_whose_process_is_killed_is_tried_again(project: Project) -> None:
    project.does(
        "left",
        "import os, signal\nmark = HERE / 'mark'\n"
        "if not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), signal.SIGKILL)",
    )
    code, said = project.run()
    assert code == 0, said
    assert "ended with -9" in said


CLEANS_UP = """
import time
(HERE / '{me}').touch()
try:
    time.sleep(60)
finally:
    time.sleep({seconds})
    (HERE / '{me}').unlink()
"""


def test_an_interrupt_lets_every_step_clean_up(project: Project) -> None:
    for me in ("left", "right"):
        project.does(me, CLEANS_UP.format(me=me, seconds=0.5))
    with project.start("run", "--set", "run.jobs=2") as process:
        eventually(lambda: (project.folder / "left").exists() and (project.folder / "right").exists())
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert project.statuses() == {"first": "passed", "left": "interrupted", "right": "interrupted", "last": "not run"}
    assert not (project.folder / "left").exists()
    assert not (project.folder / "right").exists()


@pytest.mark.parametrize("log_format", ["plain", "json"])
def test_when_nobody_reads_the_output_any_more_the_run_is_interrupted(project: Project, log_format: str) -> None:
    talks = "for _ in range(600):\n        ctx.log('still here')\n        time.sleep(0.1)"
    project.does("left", CLEANS_UP.format(me="left", seconds=0.5).replace("time.sleep(60)", talks))
    with project.start("run", "--log-format", log_format) as process:
        eventually((project.folder / "left").exists)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()
        assert process.wait(30) == 130
    assert project.statuses()["left"] == "interrupted"
    assert not (project.folder / "left").exists(), "it could clean up"


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.2, 0.4])
def test_an_interrupt_at_any_moment_of_a_step_is_told_as_one(project: Project, seconds: float) -> None:
    project.does("first", "import time\ntime.sleep(60)")
    with project.start("run") as process:
        assert process.stderr is not None
        assert any(line.startswith("▶") for line in process.stderr)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 130
    assert project.statuses()["first"] == "interrupted"


def test_after_a_kill_the_next_run_waits_until_the_steps_have_cleaned_up(project: Project) -> None:
    project.does("left", CLEANS_UP.format(me="left", seconds=8))
    with project.start("run") as process:
        eventually((project.folder / "left").exists)
        process.kill()
    assert project.read("run.json")["exit_code"] is None, "the ledger does not tell of an end that it has not seen"
    project.does("left", "assert not (HERE / 'left').exists()")
    code, said = project.run()
    assert code == 0, said
    assert "was killed; waiting for its steps to clean up" in said
    assert project.statuses()["first"] == "unchanged"


def test_commands_that_are_one_run_share_its_folder_and_keep_others_out(project: Project) -> None:
    assert project.run("step", "first", "--run", "build-7")[0] == 0
    for me, other in (("left", "right"), ("right", "left")):
        project.does(me, MEET.format(me=me, other=other))
    with project.start("step", "left", "--run", "build-7") as left:
        eventually((project.folder / "left").exists)
        code, said = project.run("run")
        assert code == 2
        assert "Another run, build-7, is at work" in said
        code, said = project.run("step", "left", "--run", "build-7")
        assert code == 2
        assert "is at work already" in said
        assert project.run("step", "right", "--run", "build-7")[0] == 0
        assert left.wait(30) == 0
    assert project.run("step", "last", "--run", "build-7")[0] == 0
    assert project.read("run.json")["id"] == "build-7"
    assert project.statuses() == dict.fromkeys(("first", "left", "right", "last"), "passed")


def test_what_failed_in_the_same_run_counts_also_when_it_passed_before(project: Project) -> None:
    assert project.run()[0] == 0
    project.does("left", "from pipeline_tools.errors import QualityError\nraise QualityError('bad', hint='Mend it.')")
    assert project.run("step", "left", "--run", "build-8")[0] == 3
    code, said = project.run("step", "last", "--run", "build-8")
    assert code == 2
    assert "The step last needs left, which failed in this run." in said
    told = project.read("build.json")["steps"]
    assert (told["left"]["result"], told["left"]["message"]) == ("FAILURE", "left: bad Mend it.")
    assert told["last"]["message"].startswith("last: The step last needs left")
    code, said = project.run("step", "nothing", "--run", "build-8")
    assert code == 2
    assert project.read("build.json")["steps"]["nothing"]["result"] == "FAILURE"
    assert set(project.read("build.json")["steps"]) == {"left", "last", "nothing"}


def test_a_step_that_was_refused_before_it_began_has_failed_in_its_run(project: Project) -> None:
    assert project.run()[0] == 0
    code, said = project.run("step", "left", "--run", "build-9", "--set", "left.wrod=x")
    assert code == 2
    assert "Did you mean 'word'" in said
    assert project.statuses_of("build-9") == {"left": "failed"}
    assert project.run("step", "rihgt", "--run", "build-9")[0] == 2
    assert project.run("step", "right", "--run", "build-9")[0] == 0
    assert project.statuses() == {"left": "failed", "right": "unchanged"}
    assert project.read("error.json")["step"] == "left"
    assert project.read("build.json")["steps"]["left"]["result"] == "FAILURE"
    assert project.read("build.json")["steps"]["right"]["result"] == "SUCCESS"
    code, said = project.run("step", "last", "--run", "build-9")
    assert code == 2
    assert "The step last needs left, which failed in this run." in said


@pytest.mark.parametrize("status", ["running", "not run", "waiting", "interrupted"])
def test_a_step_waits_for_nobody_and_does_not_go_on_with_what_another_command_has_not_done(
    project: Project, status: str
) -> None:
    assert project.run()[0] == 0
    assert project.run("step", "left", "--run", "build-9")[0] == 0
    file = project.folder / ".pipeline/runs/build-9/run.json"
    file.write_text(file.read_text().replace('"unchanged"', f'"{status}"'))
    code, said = project.run("step", "last", "--run", "build-9")
    assert code == 2
    assert "The step last needs left, which" in said


def test_what_failed_in_a_run_of_several_commands_is_told_as_of_one(project: Project) -> None:
    assert project.run("step", "first", "--run", "build-9")[0] == 0
    for name, kind in (("right", "QualityError"), ("left", "ConfigError")):
        project.does(name, f"from pipeline_tools.errors import *\nraise {kind}('{name} is wrong')")
        project.run("step", name, "--run", "build-9")
    error = project.read("error.json")
    assert (error["step"], [other["step"] for other in error["others"]]) == ("left", ["right"])
    assert project.read("run.json")["exit_code"] == 2
    project.does("left", "")
    assert project.run("step", "left", "--run", "build-9")[0] == 0
    error = project.read("error.json")
    assert (error["step"], error["others"]) == ("right", [])
    assert project.read("run.json")["exit_code"] == 3
    project.does("right", "")
    assert project.run("step", "right", "--run", "build-9")[0] == 0
    assert not (project.folder / ".pipeline/latest/error.json").exists()
    assert project.read("run.json")["exit_code"] == 0


def test_a_name_that_is_not_utf_8_is_told_whole_wherever_a_run_tells_it(project: Project) -> None:
    said = "ctx.log('see a\\udcf1o')\nresult = {'made': 'a\\udcf1o'}"
    project.does("first", said)
    with project.start("run", "first", "--log-format", "json") as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in told.splitlines()]
    assert "see a\udcf1o" in [line.get("text") for line in lines]
    assert project.read("run.json")["steps"][0]["outputs"] == {"made": "a\udcf1o"}
    assert project.events("step passed")[0]["outputs"] == {"made": "a\udcf1o"}
    folder = project.folder / ".pipeline/latest"
    assert (folder / "steps/first/log.txt").read_text() == "see a\\udcf1o\n"
    assert "a\\udcf1o" in (folder / "report.html").read_text()
    code, told = project.run("run", "first", "--force")
    assert code == 0
    assert "see a\\udcf1o" in told


def test_the_ledger_tells_of_earlier_runs_and_why_a_step_ran_again(project: Project) -> None:
    def says(*words: str) -> str:
        with project.start(*words) as process:
            said, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        return said

    assert project.run()[0] == 0
    project.does("left", "result = {'made': 'another'}")
    assert project.run()[0] == 0
    second, first = (line.split()[0] for line in says("history").splitlines()[1:])
    assert {first, second} == {run.name for run in (project.folder / ".pipeline/runs").iterdir()}, "whole, and wherever"
    assert "=right" in says("history")
    assert "made: another" in says("show")
    assert "made: left" in says("show", first)
    changes = says("diff", first, second).splitlines()
    assert "  file do/left.py changed" in changes
    assert "right: reads the same" in changes
    assert "  outputs.left.made: 'left' → 'another'" in changes
    assert project.run("show", "2000")[0] == 2


def test_a_step_whose_effect_outside_is_gone_runs_again(project: Project) -> None:
    assert project.run()[0] == 0
    (project.folder / "left is gone").touch()
    code, said = project.run()
    assert code == 0, said
    assert project.statuses() == {"first": "unchanged", "left": "passed", "right": "unchanged", "last": "unchanged"}
    assert [event["reason"] for event in project.events("step started")] == ["what it had left is gone"]


def test_the_summary_names_the_slowest_steps(project: Project) -> None:
    for number, name in enumerate(("first", "last", "left", "right")):
        project.does(name, f"import time\ntime.sleep({0.2 * number})")
    said = project.run()[1]
    took = {step["id"]: step["seconds"] for step in project.read("run.json")["steps"]}
    slowest = sorted(took, key=lambda name: -took[name])[:3]
    assert "slowest: " + ", ".join(f"{name} {took[name]:.1f} s" for name in slowest) in said


def test_on_a_terminal_every_step_at_work_has_a_line_with_its_time(project: Project) -> None:
    for me, other in (("left", "right"), ("right", "left")):
        project.does(me, MEET.format(me=me, other=other) + "time.sleep(2)")
    master, slave = pty.openpty()
    argv = [*TOOL, "run", "--set", "run.jobs=2", "--quiet"]
    terminal = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(argv, cwd=project.folder, env=terminal, stderr=slave, stdout=slave) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # the other end is closed
            while chunk := os.read(master, 65536):
                shown += chunk
    os.close(master)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"left +1 s", text)
    assert re.search(r"right +1 s", text)
    assert "left 49" not in text, "quiet"


def test_verbose_tells_why_a_step_runs(project: Project) -> None:
    said = project.run("run", "--verbose")[1]
    assert "step started: " in said
    assert "reason it has not passed before" in said
    assert "run ended: " in said
