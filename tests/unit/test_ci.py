"""What Jenkins is told: the plan that it renders, and what it shows of a build."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools import ci, plan
from pipeline_tools.config.layers import load
from pipeline_tools.errors import ConfigError
from pipeline_tools.run import RunRecord, StepRecord
from tests.unit.test_malformed import run

DIGEST = f"sha256:{'a' * 64}"


class World:
    """A project with its plan, as a build in ``folder`` sees it."""

    def __init__(self, folder: Path, project: str = "name: x\n", platform: str = "") -> None:
        (folder / "pipeline.yml").write_text(project)
        (folder / "platform.yml").write_text(platform)
        self.folder = folder
        self.platform = folder / "platform.yml"
        self.plan = plan.make(self.config)

    def config(self, environment: str | None) -> Any:
        return load(self.folder, platform=self.platform, environment=environment).config

    def document(self, *, until: str | None = None, environment: str | None = None, **asked: Any) -> Any:
        steps = plan.select(self.plan, until=until, environment=environment)
        return ci.document(self.plan, steps, self.config, ci.Caller(**asked))

    def build(self, *steps: StepRecord, errors: tuple[dict[str, Any], ...] = (), **environ: str) -> Any:
        record = RunRecord(
            id="r1",
            project="x",
            version="1.0.0-gabc",
            commit="abc",
            branch="main",
            folder=self.folder / ".pipeline/runs/r1",
            started="now",
            steps=list(steps),
            errors=list(errors),
        )
        return ci.build(record, self.plan, self.config(None), environ)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def steps_of(document: Any) -> dict[str, Any]:
    return {step["id"]: step for stage in document["stages"] for branch in stage["branches"] for step in branch}


def failure(step: str, exit_code: int, message: str = "It is not good.") -> dict[str, Any]:
    return {"step": step, "exit_code": exit_code, "message": message, "hint": "Mend it.", "link": ""}


def test_each_step_comes_with_its_command_its_limit_and_what_it_reports(here: Path) -> None:
    document = World(here).document(folder="service", run="jenkins-x-7", force=True)
    assert document["run"] == "service/.pipeline/runs/jenkins-x-7"
    step = steps_of(document)["deploy-test"]
    common = ["--project", "service", "--log-format", "plain", "--run", "jenkins-x-7", "--force"]
    assert step["command"] == ["step", "deploy-test", *common]
    assert step["timeout"] == 7200
    assert steps_of(document)["test"]["reports"] == {"junit": "junit.xml", "coverage": "coverage.xml"}


def test_a_stage_that_releases_has_milestone_lock_and_the_approval_that_is_wanted(here: Path) -> None:
    world = World(here, "name: x\nenvironments: {prod: {approvers: [ana, ops]}}\njenkins: {approval_timeout: 2h}\n")
    stages = world.document()["stages"]
    assert [(stage["name"], stage["milestone"], stage["lock"]) for stage in stages] == [
        ("Test", None, None),
        ("Build", None, None),
        ("TEST", 3, "x-test"),
        ("PROD", 4, "x-prod"),
    ]
    assert [stage["approval"] for stage in stages[:3]] == [None, None, None]
    assert stages[3]["approval"] == {
        "id": "deploy-prod",
        "question": "Deploy x to PROD?",
        "ok": "Deploy",
        "submitter": "ana,ops",
        "timeout": 7200,
    }


def test_a_pull_request_releases_nothing_and_says_so(here: Path) -> None:
    document = World(here).document(branch="PR-3", change="3")
    assert set(steps_of(document)) == {"test", "scan", "image", "chart"}
    skipped = {step["id"]: step["reason"] for step in document["skipped"]}
    assert list(skipped) == ["deploy-test", "verify-test", "deploy-prod", "verify-prod"]
    assert set(skipped.values()) == {"nothing is released from a pull request (3)"}


@pytest.mark.parametrize(
    ("branch", "released"), [("main", True), (None, True), ("release/1", True), ("feature/x", False)]
)
def test_a_multibranch_job_releases_from_the_branches_named(here: Path, branch: str | None, released: bool) -> None:
    world = World(here, "name: x\njenkins: {deploy_from: [main, 'release/*']}\n")
    assert ("deploy-test" in steps_of(world.document(branch=branch))) is released


def test_of_a_model_everything_after_the_promotion_is_a_release(here: Path) -> None:
    document = World(here, "kind: model\nname: x\n").document(change="3")
    assert set(steps_of(document)) == {"test", "evaluate"}


def test_credentials_are_what_the_configuration_reads_from_variables(here: Path) -> None:
    platform = """
artifactory: {url: "https://a.example.com", username: "env:WHO", password: "env:SECRET"}
sonarqube: {url: "https://s.example.com", token: "file:/token"}
kubernetes: {kubeconfig: /kubeconfig}
environments: {prod: {kubernetes: {kubeconfig: null}}}
jenkins: {credentials: {artifactory: our-artifactory}}
"""
    steps = steps_of(World(here, platform=platform).document())
    artifactory = {"id": "our-artifactory", "type": "username-password", "variables": ["WHO", "SECRET"]}
    kubeconfig = {"id": "kubeconfig", "type": "file", "variables": ["KUBECONFIG"]}
    assert steps["test"]["credentials"] == []
    assert steps["scan"]["credentials"] == []
    assert steps["image"]["credentials"] == [artifactory]
    assert steps["deploy-test"]["credentials"] == [artifactory]
    assert steps["deploy-prod"]["credentials"] == [artifactory, kubeconfig]


def test_an_ssh_key_is_bound_where_the_platform_names_one(here: Path) -> None:
    world = World(here, "kind: data\nname: x\n", "jenkins: {credentials: {git-ssh-key: deploy-key}}\n")
    key = {"id": "deploy-key", "type": "ssh-key", "variables": ["PIPELINE_TOOLS_GIT__SSH_KEY"]}
    assert steps_of(world.document())["promote"]["credentials"] == [key]
    assert steps_of(world.document())["test"]["credentials"] == []


def test_the_steps_of_a_build_are_one_run_named_after_it(here: Path) -> None:
    def name(tag: str) -> str | None:
        return ci.caller(here, force=False, environ={"BUILD_TAG": tag}).run

    assert name("jenkins-team-a%2Fb-7") == "jenkins-team-a-2Fb-7"
    assert name("") is None
    assert len(str(name("x" * 300))) == 200


def test_the_kind_must_be_what_the_jenkinsfile_says(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"has modelPipeline\(\), but x is of kind service") as caught:
        ci.check_kind(World(here).plan, "model")
    assert "servicePipeline()" in caught.value.hint


def test_the_question_names_the_digest_the_gate_and_what_was_proven(here: Path) -> None:
    image = StepRecord(id="image", summary="", status="unchanged", outputs={"digest": DIGEST, "repository": "r/d/x"})
    scan = StepRecord(id="scan", summary="", status="passed", outputs={"gate": "OK", "dashboard": "https://s/d"})
    verify = StepRecord(id="verify-test", summary="", status="passed", outputs={"url": "https://test"})
    shown = World(here).build(image, scan, verify, BUILD_NUMBER="7")
    assert shown["questions"] == {
        "PROD": f"Deploy x 1.0.0-gabc ({DIGEST}) to PROD? Quality gate OK; proven by verify-test."
    }
    assert shown["name"] == "#7 1.0.0-gabc"
    assert shown["description"].splitlines() == [
        "image r/d/x@sha256:aaaaaaaaaaaa",
        "quality gate OK https://s/d",
        "TEST runs it https://test",
    ]


def test_a_description_in_html_links_and_escapes(here: Path) -> None:
    world = World(here, "name: x\njenkins: {markup: html}\n", "artifactory: {url: 'https://a/artifactory'}\n")
    image = StepRecord(id="image", summary="", status="passed", outputs={"digest": DIGEST, "repository": "r/d/x"})
    shown = world.build(image, errors=(failure("test", 3, "<b>no</b>"),))
    assert shown["description"] == (
        "test: &lt;b&gt;no&lt;/b&gt; Mend it.<br>"
        '<a href="https://a/ui/repos/tree/General/d/x">image r/d/x@sha256:aaaaaaaaaaaa</a>'
    )


@pytest.mark.parametrize(
    ("exit_code", "quality", "result"),
    [(3, "failure", "FAILURE"), (3, "unstable", "UNSTABLE"), (4, "unstable", "FAILURE"), (130, "unstable", "ABORTED")],
)
def test_a_failure_is_the_result_that_its_class_has(here: Path, exit_code: int, quality: str, result: str) -> None:
    world = World(here, f"name: x\njenkins: {{quality: {quality}}}\n")
    failed = StepRecord(id="test", summary="", status="failed")
    ended = world.build(failed, errors=(failure("test", exit_code),))["steps"]["test"]
    assert (ended["result"], ended["message"]) == (result, "test: It is not good. Mend it.")


def test_a_step_that_did_not_end_did_not_pass(here: Path) -> None:
    assert (
        World(here).build(StepRecord(id="test", summary="", status="running"))["steps"]["test"]["result"] == "FAILURE"
    )


def test_reports_are_those_that_are_there_also_of_an_earlier_run(here: Path) -> None:
    world = World(here)
    for path in ("r1/steps/test/junit.xml", "r0/steps/test/coverage.xml", "r1/steps/scan/gate.json"):
        (here / ".pipeline/runs" / path).parent.mkdir(parents=True, exist_ok=True)
        (here / ".pipeline/runs" / path).touch()
    outputs = {"coverage": ".pipeline/runs/r0/steps/test/coverage.xml", "tests": 3}
    test = StepRecord(id="test", summary="", status="unchanged", outputs=outputs)
    shown = world.build(test, StepRecord(id="scan", summary="", status="failed"))["steps"]
    assert shown["test"]["reports"]["junit"] == ".pipeline/runs/r1/steps/test/junit.xml"
    assert shown["test"]["reports"]["coverage"] == ".pipeline/runs/r0/steps/test/coverage.xml"
    assert shown["scan"]["reports"]["archive"].endswith(",.pipeline/runs/r1/steps/scan/gate.json")


def test_an_environment_may_have_a_dash_in_its_name(here: Path) -> None:
    world = World(here, "name: x\nenvironments: {pre-prod: {}}\n")
    names = [step.id for step in world.plan.steps() if step.environment == "pre-prod"]
    shown = world.build(*(StepRecord(id=name, summary="", status="passed") for name in names))["steps"]
    assert set(shown) == {"deploy-pre-prod", "verify-pre-prod"}
    assert {about["result"] for about in shown.values()} == {"SUCCESS"}


def test_a_page_is_published_or_kept_as_the_platform_says(here: Path) -> None:
    page = here / ".pipeline/runs/r1/steps/check/report.html"
    page.parent.mkdir(parents=True)
    page.touch()
    step = StepRecord(id="check", summary="", status="passed")
    shown = World(here, "kind: data\nname: x\n").build(step)
    assert shown["steps"]["check"]["reports"]["html"] == [
        {"dir": ".pipeline/runs/r1/steps/check", "file": "report.html", "name": "check"}
    ]
    assert shown["reports"]["html"][0]["file"] == "report.html"
    shown = World(here, "kind: data\nname: x\njenkins: {html: archive}\n").build(step)
    assert shown["reports"]["html"] == shown["steps"]["check"]["reports"]["html"] == []
    assert "steps/check/report.html" in shown["steps"]["check"]["reports"]["archive"]


def test_a_step_that_could_not_begin_is_in_the_record_with_what_was_there_before(here: Path) -> None:
    first = ci.could_not_begin("test", failure("test", 2), None)
    assert first["steps"]["test"] == {
        "result": "FAILURE",
        "message": "test: It is not good. Mend it.",
        "reports": {},
    }
    both = ci.could_not_begin("scan", failure("scan", 5, "No token."), first)
    assert set(both["steps"]) == {"test", "scan"}
    assert both["description"].splitlines() == ["test: It is not good. Mend it.", "scan: No token. Mend it."]


def test_the_command_writes_the_plan_to_a_file_and_refuses_another_kind(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    World(here)
    monkeypatch.setenv("BUILD_TAG", "jenkins-x-1")
    assert run(["plan", "--json", "--output", "made/plan.json", "--kind", "service", "--environment", "test"]) == 0
    document = json.loads((here / "made/plan.json").read_text())
    assert document["run"] == "./.pipeline/runs/jenkins-x-1"
    assert [stage["name"] for stage in document["stages"]] == ["Test", "Build", "TEST"]
    assert capsys.readouterr().out == ""
    assert run(["plan", "--json", "--output", "pipeline.yml/plan.json"]) == 2
    assert "pipeline.yml cannot be written" in capsys.readouterr().err
    assert run(["plan", "--kind", "data"]) == 2
    assert run(["plan", "--until", "imge"]) == 2
    assert "Did you mean 'image'" in capsys.readouterr().err
