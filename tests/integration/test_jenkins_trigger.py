"""Builds started and watched: on the controller at JENKINS_URL, or on a server that speaks its API."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse

from pipeline_tools.jenkins import trigger
from pipeline_tools.jenkins.trigger import Asked, Build, Trigger
from pipeline_tools.systems.jenkins import Controller
from tests import jenkins_server
from tests.integration.conftest import Place
from tests.waiting import eventually

COMMIT, OTHER = "1a2b3c4d" * 5, "5e6f7a8b" * 5
ALONE = (
    "<org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>"
    "<abortPrevious>false</abortPrevious>"
    "</org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty>"
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    place.write()
    if place.server:
        monkeypatch.setattr(trigger, "QUIET", 1)
        monkeypatch.setattr(trigger, "PAUSE", 0.05)


def builds(place: Place, name: str) -> list[int]:
    return [each["number"] for each in place.client.get_job_info(name)["builds"]]


def one(place: Place, asked: Asked, lines: list[str] | None = None) -> Build:
    """Start and watch with a client of its own, as another machine would."""
    controller = Controller(place.url, place.user, place.token, patience=60)
    shown = [] if lines is None else lines
    running = Trigger(controller, asked, say=lambda line: None, show=shown.append)
    return running.wait(running.start())


def test_the_console_is_shown_and_success_is_0(place: Place) -> None:
    name = place.script("works", "echo 'first'\nsleep 1\necho 'último'")
    code, out, err = place.tool("trigger", name, "--wait")
    assert code == 0, err
    lines = out.splitlines()
    assert lines.index("first") < lines.index("último") and lines[-1] == "Finished: SUCCESS"
    assert f"{name} #1: " in err and err.endswith("#1 passed.\n")


def test_without_wait_it_is_only_put_into_the_queue(place: Place) -> None:
    name = place.script("works", "echo 'first'")
    code, out, err = place.tool("trigger", name)
    assert code == 0 and out == "" and re.search(r"In the queue: .*/queue/item/\d+/", err)
    eventually(lambda: builds(place, name) == [1])


def failure(kind: str) -> str:
    """A build that fails with an error of a class."""
    told = f'{{"class": "{kind}", "step": "deploy-test", "message": "put back"}}'
    write = f"writeFile file: 'error.json', text: '{told}'"
    return f"node {{\n{write}\narchiveArtifacts 'error.json'\n}}\nerror 'broken'"


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ("unstable 'poor'", 3, "quality error: .* is unstable"),
        ("error 'broken'", 3, "quality error: .* failed"),
        (failure("deployment"), 6, "deployment error: .* failed"),
        (failure("defect"), 1, "defect error: .* failed"),
        (failure("approval"), 2, "configuration error: .* failed"),
    ],
    ids=["unstable", "failed", "failed, and says why", "a defect", "an approval that is missing"],
)
def test_a_result_is_an_exit_code(script: str, code: int, says: str, place: Place) -> None:
    name = place.script("ends", script)
    got, _, err = place.tool("trigger", name, "--wait")
    assert got == code and re.search(says, err) and f"/{name.rpartition('/')[2]}/1/" in err
    assert ("deploy-test: put back" in err) == ("error.json" in script)


def test_an_aborted_build_is_130(place: Place) -> None:
    name = place.script("long", "echo 'begun'\nsleep 60\necho 'never'")
    with ThreadPoolExecutor() as pool:
        running = pool.submit(lambda: one(place, Asked(job=name, parameters={})))
        eventually(lambda: builds(place, name))
        place.client.stop_build(name, 1)
        build = running.result(timeout=60)
    controller = Controller(place.url, place.user, place.token)
    error = Trigger(controller, Asked(job=name, parameters={}), say=print, show=print).judge(build)
    assert error is not None and error.exit_code == 130 and "was aborted" in error.message


def test_cancelled_in_the_queue_is_130_and_the_reason_to_wait_is_told(place: Place) -> None:
    name = place.script("alone", "sleep 20", more=ALONE)
    place.tool("trigger", name)
    eventually(lambda: builds(place, name))
    said: list[str] = []
    controller = Controller(place.url, place.user, place.token)
    second = Trigger(controller, Asked(job=name, parameters={"COMMIT": "x"}), say=said.append, show=print)
    began = second.start()
    assert isinstance(began, int)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(second.wait, began)
        eventually(lambda: said)
        place.client.cancel_queue(began)
        assert "was cancelled" in str(waiting.exception(timeout=30))
    assert re.search(r"In the queue: Build #1 is already in progress", said[0])
    place.client.stop_build(name, 1)


def test_a_commit_has_one_build_however_often_it_is_asked_for(place: Place) -> None:
    name = place.script("once", "echo 'x'\nsleep 2")
    asked = Asked(job=name, parameters={}, commit=COMMIT)

    def late(seconds: float) -> int:
        time.sleep(seconds)
        return one(place, asked).number

    # at once; while it waits; while it leaves the queue; while it runs; when it has ended
    with ThreadPoolExecutor(12) as pool:
        numbers = set(pool.map(late, [0, 0, 0, 0, 0.3, 0.7, 0.95, 1.0, 1.05, 1.1, 1.5, 2.5]))
    assert numbers == {1} and builds(place, name) == [1]
    assert one(place, asked).number == 1
    code, out, err = place.tool("trigger", name, "--wait", "--commit", COMMIT)
    assert code == 0 and "The commit has a build already" in err and "Finished: SUCCESS" in out
    assert one(place, Asked(job=name, parameters={}, commit=OTHER)).number == 2
    assert one(place, Asked(job=name, parameters={}, commit=COMMIT, force=True)).number == 3
    assert one(place, asked).number == 1


@pytest.mark.parametrize("keyed", [True, False], ids=["by its parameter", "by what Jenkins recorded"])
def test_what_slips_through_all_the_same_is_stopped(
    keyed: bool, place: Place, ours: jenkins_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = place.script("twice", "echo 'x'\nsleep 3", commit=keyed)
    ours.items[name].commit = COMMIT
    monkeypatch.setattr(Trigger, "_queued", lambda self, url, keyed: None)
    monkeypatch.setattr(Trigger, "_built", lambda self, keyed: None)
    monkeypatch.setattr(trigger, "QUIET", 0)
    asked = Asked(job=name, parameters={}, commit=COMMIT)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(one, place, asked)
        eventually(lambda: ours.items[name].builds)
        second = pool.submit(one, place, asked)
        assert (first.result(30).number, second.result(30).number) == (1, 1)
    eventually(lambda: ours.items[name].builds[1].result == "ABORTED")


def test_a_lost_answer_starts_no_second_build(place: Place, ours: jenkins_server.Server) -> None:
    name = place.script("once", "echo 'x'")
    ours.lost = 1
    assert one(place, Asked(job=name, parameters={}, commit=COMMIT)).number == 1
    assert builds(place, name) == [1]
    ours.lost = 1
    code, _, err = place.tool("trigger", name, "-p", "COMMIT=")
    assert code == 4 and "answered 502" in err and "may have been started" in err


def test_a_branchs_builds_are_known_by_the_commit_that_jenkins_recorded(
    place: Place, ours: jenkins_server.Server
) -> None:
    name = place.script("branch", "echo 'x'\nsleep 1", commit=False)
    ours.items[name].commit = COMMIT
    asked = Asked(job=name, parameters={}, commit=COMMIT)
    with ThreadPoolExecutor() as pool:
        assert {build.number for build in pool.map(lambda each: one(place, each), [asked] * 4)} == {1}
    assert one(place, asked).number == 1
    code, _, err = place.tool("trigger", name, "--wait", "--commit", OTHER)
    assert code == 2 and f"it built {COMMIT[:12]}, not {OTHER[:12]}" in err


def test_one_that_has_not_said_what_it_builds_is_waited_for(place: Place, ours: jenkins_server.Server) -> None:
    name = place.script("branch", "echo 'x'\nsleep 3", commit=False)
    with ThreadPoolExecutor() as pool:
        pool.submit(one, place, Asked(job=name, parameters={}))
        eventually(lambda: ours.items[name].builds)
        second = pool.submit(one, place, Asked(job=name, parameters={}, commit=COMMIT))
        time.sleep(0.5)
        assert len(ours.items[name].builds) == 1
        ours.items[name].builds[0].commit = COMMIT
        assert second.result(30).number == 1


@pytest.mark.parametrize("when", [0.2, 1.5], ids=["in the queue", "while it runs"])
def test_a_restart_of_the_controller_is_survived(when: float, place: Place, ours: jenkins_server.Server) -> None:
    name = place.script("long", "\n".join(f"echo 'line {number}'\nsleep 0.1" for number in range(40)))
    lines: list[str] = []
    with ThreadPoolExecutor() as pool:
        running = pool.submit(one, place, Asked(job=name, parameters={}, commit=COMMIT), lines)
        time.sleep(when)
        ours.restart()
        build = running.result(60)
    assert build.result == "SUCCESS"
    assert lines == [*(f"line {number}" for number in range(40)), "Finished: SUCCESS"]
    assert builds(place, name) == [1]


def test_a_crumb_ends_with_the_session(place: Place, ours: jenkins_server.Server) -> None:
    name = place.script("works", "echo 'x'")
    controller = Controller(place.url, place.user, jenkins_server.PASSWORD)
    for _ in range(2):
        controller.ask("POST", f"job/{place.root}/job/works/buildWithParameters")
        ours.sessions.clear()
    eventually(lambda: builds(place, name))


def test_patience_ends(place: Place, ours: jenkins_server.Server) -> None:
    name = place.script("long", "sleep 30")
    place.tool("trigger", name)
    ours.loading = True
    begun = time.monotonic()
    code, _, err = place.tool("trigger", name, "--wait", "--patience", "1s")
    assert code == 4 and "answered 503" in err and time.monotonic() - begun < 10
    ours.loading = False


def test_a_secret_in_the_console_is_masked_wherever_it_is_cut(place: Place, ours: jenkins_server.Server) -> None:
    name = place.script("leaks", "echo 'begun'\nsleep 2")
    secret = place.token.encode()

    def leak() -> None:
        eventually(lambda: ours.items[name].builds and ours.items[name].builds[0].log)
        log = ours.items[name].builds[0].log
        for piece in (b"token=" + secret[:7], secret[7:12], secret[12:] + b" end\n"):
            log += piece
            time.sleep(0.4)

    threading.Thread(target=leak, daemon=True).start()
    code, out, err = place.tool("trigger", name, "--wait")
    assert code == 0 and "token=**** end" in out.splitlines(), err
    assert place.token not in out + err and place.token[:12] not in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("{root}/wroks", "--wait"), "has no job '.*/wroks'.* Did you mean '.*/works'"),
        (("{root}/works", "-p", "COMIT=1"), r"has no parameter 'COMIT'\. Did you mean 'COMMIT'\?"),
        (("{root}/works", "-p", "COMMIT"), "--parameter COMMIT: expected NAME=VALUE"),
        (("{root}/works", "--patience", "10"), "write a duration with its unit"),
        (("{root}/works", "--commit", COMMIT[:12]), "write the whole hash"),
    ],
    ids=["job", "parameter", "value", "duration", "commit"],
)
def test_what_was_mistyped_is_told(words: tuple[str, ...], says: str, place: Place) -> None:
    place.script("works", "echo 'x'")
    code, _, err = place.tool("trigger", *(word.format(root=place.root) for word in words))
    assert code == 2 and re.search(says, err), err


def test_a_folder_is_not_built(place: Place) -> None:
    place.script("works", "echo 'x'")
    code, _, err = place.tool("trigger", place.root, "--wait")
    assert code == 2 and "is not built itself: its jobs are" in err and f"Name one of them: {place.root}/works." in err


def test_a_wrong_host_is_told_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_tools.systems.jenkins.PATIENCE", 0.5)
    place.url = "http://jenkins.invalid"
    place.write()
    code, _, err = place.tool("trigger", "x", "--patience", "10m")
    assert code == 4 and "does not answer at http://jenkins.invalid" in err


def test_a_disabled_job_is_told(place: Place) -> None:
    name = place.script("works", "echo 'x'")
    place.client.disable_job(name)
    code, _, err = place.tool("trigger", name)
    assert code == 2 and "is disabled" in err


def test_ctrl_c_says_what_goes_on(place: Place) -> None:
    name = place.script("long", "echo 'begun'\nsleep 30")
    argv = [sys.executable, "-m", "pipeline_tools", "jenkins", "trigger", name, "--wait", "--platform", str(place.file)]
    environment = {**os.environ, "JENKINS_USER": place.user, "JENKINS_TOKEN": place.token}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None and running.stderr is not None
        while "begun" not in running.stdout.readline():
            assert running.poll() is None
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
        assert running.wait(30) == 130
    assert re.search(r"The build goes on in Jenkins: \S+/long/1/", said)
    assert place.client.get_build_info(name, 1)["building"]
    place.client.stop_build(name, 1)


DECLARATIVE = "pipeline {\n  agent any\n  stages { stage('x') { steps { echo 'x' } } }\n}\n"


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("@Library('pipeline-tools') _\nservicePipeline()\n", 0, "no errors"),
        (DECLARATIVE, 0, "no errors"),
        (DECLARATIVE.replace("stages", "stagess"), 2, r'Jenkinsfile:3:\d+: Undefined section "stagess"'),
        ("node {\n  echo 'x'\n", 2, r"Jenkinsfile:\d+:\d+: .*expecting '}'"),
    ],
    ids=["scripted", "declarative", "wrong section", "wrong Groovy"],
)
def test_a_jenkinsfile_is_checked_with_line_and_column(
    text: str, code: int, says: str, place: Place, tmp_path: Path
) -> None:
    if place.server is None and "@Library" in text:
        pytest.skip("a controller compiles it only where it has the library")
    (tmp_path / "Jenkinsfile").write_text(text)
    got, out, err = place.tool("lint", str(tmp_path / "Jenkinsfile"))
    assert got == code and re.search(says, out + err), out + err


def test_a_jenkinsfile_that_cannot_be_checked(place: Place, tmp_path: Path) -> None:
    code, _, err = place.tool("lint", str(tmp_path / "none"))
    assert code == 2 and "cannot be read" in err
    if place.server:
        (tmp_path / "Jenkinsfile").write_text("node {}")
        place.server.fault = lambda method, path: PlainTextResponse("", 404) if "checkScript" in path else None
        code, _, err = place.tool("lint", str(tmp_path / "Jenkinsfile"))
        assert code == 2 and "no plugin that checks pipelines" in err
