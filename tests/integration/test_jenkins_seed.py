"""Jobs as code: on the controller at JENKINS_URL, or on a server that speaks its API."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from pipeline_tools.jenkins import merge
from tests import jenkins_server
from tests.integration.conftest import Place

REPOSITORY = "https://git.example.com/claims/service.git"
SERVICE: dict[str, Any] = {"repository": REPOSITORY, "description": "El servicio & su <chart>, ¡cómo no!", "scan": "1h"}
NIGHTLY: dict[str, Any] = {
    "kind": "pipeline",
    "repository": REPOSITORY,
    "branch": "develop",
    "parameters": {
        "environment": {"type": "choice", "choices": ["test", "prod"], "default": "test"},
        "until": {"description": "where to stop"},
        "force": {"type": "boolean", "default": True},
    },
    "triggers": {"cron": "H 2 * * *", "poll": "H/5 * * * *"},
}


def whole(place: Place, **more: Any) -> None:
    place.write(
        folders={"claims": {"description": "Claims"}, "claims/nightly": {}},
        jobs={"claims/service": SERVICE, "claims/nightly/all": NIGHTLY, **more},
        views={"claims/ours": {"jobs": ["service"], "regex": "n.*", "recurse": True}},
    )


def test_a_second_time_changes_nothing(place: Place) -> None:
    whole(place)
    code, out, _ = place.tool("seed", "--check")
    assert code == 3 and out.endswith("5 differ, 0 as they should be\n")
    assert not place.client.job_exists(f"{place.root}/claims")
    code, out, err = place.tool("seed")
    assert (code, err) == (0, "") and out.endswith("5 changed, 0 as they should be\n")
    before = place.client.get_job_config(f"{place.root}/claims/nightly/all")
    for words in (("seed", "--check"), ("seed",)):
        code, out, _ = place.tool(*words)
        assert code == 0 and out.startswith("0 ") and out.endswith("5 as they should be\n")
    assert place.client.get_job_config(f"{place.root}/claims/nightly/all") == before
    if place.server:
        changes = [path for path in place.server.posts() if place.root in path]
        assert len(changes) == 5


def test_python_jenkins_finds_what_was_seeded(place: Place) -> None:
    whole(place)
    place.tool("seed")
    info = place.client.get_job_info(f"{place.root}/claims/nightly/all")
    (defined,) = [each["parameterDefinitions"] for each in info["property"] if each.get("parameterDefinitions")]
    assert [each["name"] for each in defined] == ["environment", "until", "force", "COMMIT"]
    assert place.client.is_folder(f"{place.root}/claims")
    assert place.client.view_exists(f"{place.root}/claims/ours")
    names = {each["fullname"] for each in place.client.get_all_jobs()}
    assert {f"{place.root}/claims/service", f"{place.root}/claims/nightly/all"} <= names


def test_a_change_is_shown_and_then_made_and_what_others_set_stays(place: Place) -> None:
    whole(place)
    place.tool("seed")
    name = f"{place.root}/claims/nightly/all"
    by_hand = merge.read(place.client.get_job_config(name), name)
    properties = by_hand.find("properties")
    assert properties is not None
    # someone sets what the file says nothing of, and what it decides
    durability = ET.SubElement(properties, "org.jenkinsci.plugins.workflow.job.properties.DurabilityHintJobProperty")
    ET.SubElement(durability, "hint").text = "PERFORMANCE_OPTIMIZED"
    spec = by_hand.find(".//hudson.triggers.TimerTrigger/spec")
    assert spec is not None
    spec.text = "H 4 * * *"
    definitions = by_hand.find(".//parameterDefinitions")
    assert definitions is not None
    definitions.remove(definitions[0])
    place.client.reconfig_job(name, merge.write(by_hand))
    code, out, _ = place.tool("seed", "--check")
    assert code == 3 and out.endswith("1 differ, 4 as they should be\n")
    shown = [line.strip() for line in out.splitlines()]
    assert "-              <spec>H 4 * * *" in [re.sub(r"^([-+]) +", r"\1              ", line) for line in shown]
    assert any(line.startswith("+") and line.endswith("<name>environment") for line in shown)
    assert not any("Durability" in line for line in shown if line[0] in "+-")
    assert place.tool("seed")[0] == 0
    after = place.client.get_job_config(name)
    assert "H 2 * * *" in after and "PERFORMANCE_OPTIMIZED" in after and "H 4" not in after
    assert place.tool("seed", "--check")[0] == 0


def test_what_the_file_no_longer_says_goes_from_a_job(place: Place) -> None:
    whole(place)
    place.tool("seed")
    whole(place, **{"claims/nightly/all": {**NIGHTLY, "triggers": {}, "concurrent": True}})
    assert place.tool("seed")[1].startswith("update  job     ")
    after = place.client.get_job_config(f"{place.root}/claims/nightly/all")
    assert "PipelineTriggersJobProperty" not in after and "DisableConcurrentBuilds" not in after
    assert place.tool("seed", "--check")[0] == 0


def test_parameters_that_the_file_does_not_decide_are_the_jenkinsfiles(place: Place) -> None:
    about = {"kind": "pipeline", "repository": REPOSITORY}
    place.write(jobs={"a": about})
    name = f"{place.root}/a"
    place.tool("seed")
    config = place.client.get_job_config(name)
    assert "<name>COMMIT</name>" in config
    # as the step `properties` of a pipeline does: the parameters that it names replace all
    place.client.reconfig_job(name, config.replace("<name>COMMIT</name>", "<name>until</name>"))
    assert place.tool("seed")[1] == "0 changed, 1 as they should be\n"
    place.write(jobs={"a": {**about, "parameters": {"reason": {}}}})
    place.tool("seed")
    assert re.findall(r"<name>(reason|COMMIT|until)</name>", place.client.get_job_config(name)) == ["reason", "COMMIT"]
    place.write(jobs={"a": about})
    place.tool("seed")
    assert re.findall(r"<name>(reason|COMMIT|until)</name>", place.client.get_job_config(name)) == ["COMMIT"]
    assert place.tool("seed", "--check")[0] == 0


def test_a_view_loses_what_the_file_no_longer_says(place: Place) -> None:
    place.write(views={"v": {"regex": "a.*", "jobs": ["b", "A"]}})
    place.tool("seed")
    place.write(views={"v": {"jobs": ["A"], "description": "ours"}})
    assert place.tool("seed")[1].startswith("update  view ")
    config = place.client.get_view_config(f"{place.root}/v")
    assert "includeRegex" not in config and re.findall("<string>(.*)</string>", config) == ["A"]
    assert place.tool("seed", "--check")[0] == 0


def test_removal_only_with_prune_and_never_of_what_is_not_ours(place: Place) -> None:
    whole(place)
    place.tool("seed")
    foreign = place.script("claims/nightly/foreign", "echo 'x'")
    place.write(folders={"claims": {"description": "Claims"}}, jobs={"claims/service": SERVICE})
    code, out, _ = place.tool("seed")
    assert code == 0 and place.client.job_exists(f"{place.root}/claims/nightly/all")
    assert f"left    job     {place.root}/claims/nightly/all (no longer in the file; --prune removes it)" in out
    code, out, _ = place.tool("seed", "--check", "--prune")
    assert code == 3 and "remove  job " in out
    code, out, _ = place.tool("seed", "--prune")
    assert code == 0 and not place.client.job_exists(f"{place.root}/claims/nightly/all")
    assert not place.client.view_exists(f"{place.root}/claims/ours")
    # the folder is ours, but not all that is in it
    assert f"left    folder  {place.root}/claims/nightly" in out
    assert place.client.job_exists(foreign)
    place.client.delete_job(foreign)
    assert place.tool("seed", "--prune")[0] == 0
    assert not place.client.job_exists(f"{place.root}/claims/nightly")
    assert place.client.job_exists(f"{place.root}/claims/service")


def test_another_owner_is_another_one(place: Place) -> None:
    whole(place)
    place.tool("seed")
    mine, place.owner = place.owner, f"{place.owner}-other"
    place.write(folders={"other": {}})
    assert place.tool("seed", "--prune")[1] == f"create  folder  {place.root}/other\n1 changed, 0 as they should be\n"
    whole(place)
    code, _, err = place.tool("seed")
    assert code == 2 and f"was seeded for {mine}, not for {place.owner}. Nothing was changed." in err
    place.owner = mine


def test_a_job_of_someone_else_is_an_error_and_nothing_is_changed(place: Place) -> None:
    place.script("mine", "echo 'x'")
    before = place.client.get_job_config(f"{place.root}/mine")
    place.write(folders={"claims": {}}, jobs={"mine": NIGHTLY})
    code, out, err = place.tool("seed")
    assert code == 2 and out == ""
    assert re.search(rf"platform\.yml:\d+: the job {place.root}/mine is in Jenkins already and was not made by", err)
    assert place.client.get_job_config(f"{place.root}/mine") == before
    assert not place.client.job_exists(f"{place.root}/claims")


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"jobs": {"a": {}}}, r"platform\.yml:\d+: jobs\..*/a: repository is missing"),
        ({"jobs": {"clams/a": SERVICE}}, r"there is no folder '.*/clams'"),
        ({"jobs": {"a": {**SERVICE, "scan": "3h"}}}, r"scan: input should be '1m'.*it is '3h'"),
        ({"jobs": {"a": {**SERVICE, "branch": "x"}}}, r"a multibranch job has no branch: is its kind right\?"),
        ({"jobs": {"a": {**SERVICE, "scann": "1h"}}}, r"unknown key '.*scann'\. Did you mean 'scan'\?"),
        ({"jobs": {"a": {**NIGHTLY, "triggers": {"cron": "2 am"}}}}, r"write five fields as Jenkins does"),
        ({"jobs": {"a": {**NIGHTLY, "triggers": {"after": ["b"]}}}}, r"there is no job 'b' in the file"),
        ({"jobs": {"a": {**NIGHTLY, "parameters": {"x": {"type": "choice"}}}}}, r"a choice needs some"),
        (
            {"jobs": {"a": {**SERVICE, "host": "github", "repository": "https://x.example/y"}}},
            r"is not OWNER/REPOSITORY",
        ),
        (
            {"required_credentials": ["artifactorry"]},
            r"Jenkins has no credential 'artifactorry'\.( Did you mean 'artifactory'\?)?",
        ),
        ({"jobs": {"a": {**SERVICE, "credentials": "nobody"}}}, r"no credential 'nobody' or in the folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_told_before_anything_is_done(sections: dict[str, Any], says: str, place: Place) -> None:
    if place.server:
        place.server.credentials[""] = {"artifactory"}
        place.server.credentials[place.root] = set()
    place.write(**sections)
    code, out, err = place.tool("seed")
    assert code == 2 and out == "" and re.search(says, err), err
    if place.server:
        assert not [path for path in place.server.posts() if "createItem" in path][1:]  # but for the test's own


def test_without_an_address_or_with_a_wrong_token(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write()
    monkeypatch.setenv("JENKINS_TOKEN", "not-the-token-at-all")
    code, _, err = place.tool("seed")
    assert code == 5 and "does not accept the user and token" in err and "not-the-token" not in err
    monkeypatch.delenv("JENKINS_TOKEN")
    assert place.tool("seed")[0] == 5
    place.file.write_text("jenkins: {}\n")
    code, _, err = place.tool("seed")
    assert code == 2 and "jenkins.url is not set" in err


def test_credentials_are_looked_for_where_the_job_sees_them(place: Place, ours: jenkins_server.Server) -> None:
    ours.credentials = {"": {"artifactory"}, place.root: {"git"}}
    jobs = {"a": {**SERVICE, "credentials": "git"}, "b": {**NIGHTLY, "credentials": "git"}}
    place.write(required_credentials=["artifactory"], jobs=jobs)
    assert place.tool("seed")[0] == 0
    for name in jobs:
        assert "<credentialsId>git</credentialsId>" in place.client.get_job_config(f"{place.root}/{name}")
    place.write(jobs={"a": SERVICE, "b": NIGHTLY})
    assert place.tool("seed")[1].endswith("2 changed, 0 as they should be\n")
    for name in jobs:
        assert "credentialsId" not in place.client.get_job_config(f"{place.root}/{name}")
    assert place.tool("seed", "--check")[0] == 0
    place.write(required_credentials=["artifactory"])
    ours.forbidden.add("credentials/")
    code, _, err = place.tool("seed", "--check")
    assert code == 5 and "may not do this" in err


def test_a_missing_plugin_is_told(place: Place, ours: jenkins_server.Server) -> None:
    ours.plugins -= {each for each in ours.plugins if each.startswith("github-branch-source")}
    place.write(jobs={"a": {**SERVICE, "host": "github", "repository": "https://github.com/claims/service"}})
    code, _, err = place.tool("seed")
    assert code == 2 and "did not keep all of the job" in err and "is a plugin missing" in err
    assert "GitHubSCMSource" in err


@pytest.mark.parametrize("bare", [False, True], ids=["wrapped", "bare"])
@pytest.mark.parametrize("host", ["git", "github", "gitlab", "bitbucket"])
def test_each_kind_of_server_is_seeded_once(host: str, bare: bool, place: Place, ours: jenkins_server.Server) -> None:
    ours.bare_sources = bare
    about = {**SERVICE, "host": host, "branches": ["master", "release/*"]}
    place.write(jobs={"a": about})
    assert place.tool("seed")[0] == 0
    assert place.tool("seed")[1] == "0 changed, 1 as they should be\n"
    config = place.client.get_job_config(f"{place.root}/a")
    assert ("PullRequestDiscoveryTrait" in config or "MergeRequestDiscoveryTrait" in config) == (host != "git")
    assert "<includes>master release/*</includes>" in config
    assert ("BranchSourceList" in config) != bare
    place.write(jobs={"a": {**about, "branches": ["master"]}})
    assert place.tool("seed")[1].startswith("update  job ")
    assert place.tool("seed", "--check")[0] == 0


def test_a_folder_keeps_its_credentials_and_gets_its_library(place: Place, ours: jenkins_server.Server) -> None:
    place.write(folders={"claims": {}})
    place.tool("seed")
    name = f"{place.root}/claims"
    secret = "{AQAAABAAAAAwc2VjcmV0LXRoYXQtaXMtZW5jcnlwdGVk}"
    config = place.client.get_job_config(name).partition("?>")[2]
    kept = f"<x.FolderCredentialsProperty><password>{secret}</password></x.FolderCredentialsProperty>"
    place.client.reconfig_job(name, config.replace("<properties />", f"<properties>{kept}</properties>"))
    place.write(folders={"claims": {"library": {"repository": REPOSITORY, "version": "v1"}}})
    code, out, _ = place.tool("seed", "--check")
    assert code == 3 and "FolderLibraries" in out and "AQAA" not in out
    assert place.tool("seed")[0] == 0
    after = place.client.get_job_config(name)
    assert secret in after and "<defaultVersion>v1</defaultVersion>" in after
    place.write(folders={"claims": {}})
    assert place.tool("seed")[0] == 0
    after = place.client.get_job_config(name)
    assert secret in after and "FolderLibraries" not in after


def test_lists_come_in_pages(place: Place, ours: jenkins_server.Server) -> None:
    place.write(folders={f"f{number:03}": {} for number in range(105)})
    assert place.tool("seed")[1].endswith("105 changed, 0 as they should be\n")
    place.write()
    assert place.tool("seed", "--prune")[1].endswith("105 changed, 0 as they should be\n")
    assert len(ours.items) == 1


def test_a_short_failure_is_waited_for_and_a_lasting_one_is_told(
    place: Place, ours: jenkins_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [503, 502, 500]
    ours.fault = lambda method, path: PlainTextResponse("later", faults.pop()) if faults else None
    place.write(folders={"a": {}})
    code, out, err = place.tool("seed")
    assert code == 0 and out.startswith("create") and "answered 500" in err
    monkeypatch.setattr("pipeline_tools.systems.jenkins.PATIENCE", 0.3)
    ours.fault = lambda method, path: PlainTextResponse("<html><h1>Bad gateway</h1></html>", 502)
    code, _, err = place.tool("seed")
    assert code == 4 and "answered 502" in err and "Bad gateway" in err and "<h1>" not in err
    ours.fault = lambda method, path: PlainTextResponse("is missing the Job/Create permission", 403)
    code, _, err = place.tool("seed")
    assert code == 5 and "Job/Create" in err
    ours.fault = lambda method, path: PlainTextResponse("<html>Log in</html>", 200)
    code, _, err = place.tool("seed")
    assert code == 2 and "is not Jenkins' API" in err
    ours.stop()
    code, _, err = place.tool("seed")
    assert code == 4 and "does not answer" in err
    ours.start()
