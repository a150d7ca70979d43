"""What the scanner is told, and what its end means."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError
from pipeline_tools.steps.scan import (
    Inputs,
    branch_scope,
    failure,
    properties_of,
    relative_coverage,
    relative_junit,
)
from pipeline_tools.systems.pod import registry_of

FILES = [Path("app/main.py"), Path("tests/test_main.py"), Path("setup.cfg")]


def context(**inputs: Any) -> Any:
    config = SimpleNamespace(name="clasificador")
    return SimpleNamespace(inputs=Inputs(**inputs), config=config, version="1.2.3-gabc", number="1.2.3", commit="abc")


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("sonarsource/sonar-scanner-cli:12", "docker.io"),
        ("scanner", "docker.io"),
        ("127.0.0.1:20081/docker-local/scanner:1", "127.0.0.1:20081"),
        ("localhost/scanner", "localhost"),
        ("art.example.com/docker/scanner@sha256:0", "art.example.com"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_branches_are_told_only_to_a_server_that_takes_them() -> None:
    variables = {"CHANGE_ID": "7", "CHANGE_BRANCH": "fix", "CHANGE_TARGET": "develop", "BRANCH_NAME": "PR-7"}
    assert branch_scope("community", "develop", variables) == ({}, {})
    assert branch_scope("developer", "develop", {}) == ({"branch": "develop"}, {"sonar.branch.name": "develop"})
    assert branch_scope("developer", "", {"BRANCH_NAME": "main"})[0] == {"branch": "main"}
    assert branch_scope("developer", "", {}) == ({}, {})
    scope, properties = branch_scope("enterprise", "", variables)
    assert scope == {"pullRequest": "7"}
    assert properties == {
        "sonar.pullrequest.key": "7",
        "sonar.pullrequest.branch": "fix",
        "sonar.pullrequest.base": "develop",
    }


def test_the_scanner_is_told_project_commit_and_build() -> None:
    told = properties_of(context(), FILES, ["junit.xml"], {"BUILD_URL": "https://jenkins/1"})
    assert told["sonar.projectKey"] == told["sonar.projectName"] == "clasificador"
    assert (told["sonar.projectVersion"], told["sonar.scm.revision"]) == ("1.2.3", "abc")
    assert told["sonar.links.ci"] == "https://jenkins/1"
    assert "sonar.python.coverage.reportPaths" not in told
    assert told["sonar.python.xunit.reportPath"] == "/work/reports/junit.xml"


def test_tests_inside_of_the_sources_are_not_sources() -> None:
    told = properties_of(context(), FILES, [], {})
    assert (told["sonar.sources"], told["sonar.tests"]) == (".", "tests")
    assert told["sonar.exclusions"] == "tests/**"
    apart = properties_of(context(sources=["app"]), FILES, [], {})
    assert "sonar.exclusions" not in apart
    none = properties_of(context(tests=["spec"]), FILES, [], {})
    assert "sonar.tests" not in none


def test_the_projects_own_properties_win() -> None:
    told = properties_of(context(properties={"sonar.sourceEncoding": "ASCII"}, project_key="team:p"), FILES, [], {})
    assert (told["sonar.sourceEncoding"], told["sonar.projectKey"]) == ("ASCII", "team:p")


def test_the_projects_own_exclusions_are_added_to_ours() -> None:
    """Without ours the scanner refuses a file that is both source and test."""
    own = {"sonar.exclusions": "gen/**"}
    assert properties_of(context(properties=own), FILES, [], {})["sonar.exclusions"] == "tests/**,gen/**"
    apart = properties_of(context(properties=own, sources=["app"]), FILES, [], {})
    assert apart["sonar.exclusions"] == "gen/**"


def test_a_source_that_git_does_not_track_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"scan\.sources names src"):
        properties_of(context(sources=["src"]), FILES, [], {})


def test_coverage_is_named_relative_to_the_project(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main.py").touch()
    report = (
        f"<coverage><sources><source>{tmp_path}/app</source></sources><packages><package><classes>"
        '<class filename="main.py" line-rate="1"/><class filename="gone.py"/></classes></package></packages></coverage>'
    )
    data, lost = relative_coverage(report.encode(), tmp_path)
    root = ET.fromstring(data)
    assert [entry.get("filename") for entry in root.iter("class")] == ["app/main.py", "gone.py"]
    assert root.find("sources") is None
    assert lost == 1


def test_tests_are_named_relative_to_the_project() -> None:
    named = ["service.tests.test_main", "tests.test_main.TestIt", "elsewhere.test_main"]
    cases = "".join(f'<testcase classname="{name}" name="t"/>' for name in named)
    data = relative_junit(f"<testsuites><testsuite>{cases}</testsuite></testsuites>".encode(), FILES)
    found = [case.get("classname") for case in ET.fromstring(data).iter("testcase")]
    assert found == ["tests.test_main", "tests.test_main.TestIt", "elsewhere.test_main"]


@pytest.mark.parametrize(
    ("code", "line", "kind"),
    [
        (1, "ERROR Not authorized. Please check the user token in the property 'sonar.token'", CredentialError),
        (2, "ERROR You're not authorized to analyze this project", CredentialError),
        (1, "ERROR Failed to query server version: Connection refused", InfrastructureError),
        (1, "ERROR java.lang.OutOfMemoryError: Java heap space", ConfigError),
        (2, "ERROR The folder 'x' does not exist", ConfigError),
        (1, "ERROR something else", InfrastructureError),
    ],
)
def test_a_failed_scanner_is_of_the_class_of_its_cause(code: int, line: str, kind: type[Exception]) -> None:
    error = failure(code, [line])
    assert type(error) is kind
    assert error.details == line
