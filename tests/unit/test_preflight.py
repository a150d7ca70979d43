"""What is told before anything runs: servers that nobody named, credentials that are not there."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from pipeline_tools import plan, preflight
from pipeline_tools.config.layers import load
from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError, CredentialError
from pipeline_tools.masking import mask

SERVERS = """\
artifactory: {url: https://art.example, docker: art.example/docker, helm: oci://art.example/helm}
sonarqube: {url: https://sonar.example, token: file:token}
environments:
  test: {verify: {url: https://test.example}}
  prod: {verify: {url: https://prod.example}, kubernetes: {kubeconfig: prod.kubeconfig}}
"""


class Project:
    """A project in a folder, with a platform file."""

    def __init__(self, folder: Path, own: str, platform: str = "") -> None:
        (folder / "pipeline.yml").write_text(own)
        (folder / "platform.yml").write_text(platform)
        self.folder = folder
        self.plan = plan.make(self)

    def __call__(self, environment: str | None) -> Config:
        return load(self.folder, platform=self.folder / "platform.yml", environment=environment).config

    def steps(self, *names: str) -> list[plan.PlannedStep]:
        return plan.select(self.plan, steps=names)


def test_steps_without_a_server_are_left_out_with_what_builds_on_them(tmp_path: Path) -> None:
    project = Project(tmp_path, "name: x\nenvironments: {test: {verify: {url: https://t.example}}}\n")
    kept, sentence = preflight.leave_out(project.steps(), project)
    assert [step.id for step in kept] == ["test"]
    assert sentence == (
        "Left out: scan, image, chart, deploy-test, verify-test, deploy-prod, verify-prod. There is no platform file, "
        "and sonarqube.url, artifactory.url, artifactory.docker, artifactory.helm, verify.url are not set. → "
        "Write one, as in README.md, and name it with --platform FILE, or put it at "
        "~/.config/pipeline-tools/platform.yml."
    )


def test_with_every_server_named_nothing_is_left_out(tmp_path: Path) -> None:
    project = Project(tmp_path, "name: x\n", SERVERS)
    assert preflight.leave_out(project.steps(), project) == (project.steps(), "")
    preflight.check_servers(project.steps(), project)


def test_a_platform_file_that_names_no_server_is_an_error_that_names_them_all(tmp_path: Path) -> None:
    project = Project(tmp_path, "name: x\n", SERVERS.replace("docker: art.example/docker, ", ""))
    with pytest.raises(ConfigError, match=r"image needs artifactory\.docker; deploy-test needs artifactory\.docker;"):
        preflight.check_servers(project.steps(), project)
    preflight.check_servers(project.steps("test", "scan", "chart"), project)


def test_a_missing_credential_is_named_with_its_key_its_place_and_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path, "name: x\n", SERVERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARTIFACTORY_USER", "someone")
    monkeypatch.delenv("ARTIFACTORY_PASSWORD", raising=False)
    check = partial(preflight.check_credentials, configuration=project)
    with pytest.raises(CredentialError) as caught:
        check(project.steps())
    platform = tmp_path / "platform.yml"
    first = f"{platform}:2: sonarqube.token, which the step scan needs: The credential file token cannot be read"
    assert caught.value.message.startswith(first)
    assert "Create it" in caught.value.hint
    password, kubeconfig = caught.value.details.splitlines()
    assert password == (
        "the default: artifactory.password, which the step image needs: "
        "The environment variable ARTIFACTORY_PASSWORD is not set."
    )
    assert kubeconfig.startswith(f"{platform}:5: kubernetes.kubeconfig, which the step deploy-prod needs")

    check(project.steps("test"))
    (tmp_path / "token").write_text("")
    with pytest.raises(CredentialError, match="token is empty"):
        check(project.steps("scan"))
    (tmp_path / "token").write_text("squ_0123456789\n")
    check(project.steps("scan"))
    assert mask("a test prints squ_0123456789") == "a test prints ****"

    monkeypatch.setenv("ARTIFACTORY_PASSWORD", "secret-password")
    (tmp_path / "prod.kubeconfig").write_text("apiVersion: v1\n")
    check(project.steps())
    assert mask("apiVersion: v1") == "apiVersion: v1", "a kubeconfig's lines are no secrets"


def test_only_what_a_step_needs_under_its_configuration_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ARTIFACTORY_USER", "ARTIFACTORY_PASSWORD", "SONAR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    project = Project(tmp_path, "name: x\ntest: {requirements: [r.txt]}\n")
    preflight.check_credentials(project.steps("test"), project)
    project = Project(tmp_path, "name: x\ntest: {requirements: [r.txt]}\n", "artifactory: {url: https://a.example}\n")
    with pytest.raises(CredentialError, match=r"artifactory\.username, which the step test needs"):
        preflight.check_credentials(project.steps("test"), project)
    tokens = "sonarqube: {url: https://s.example, token: secret:a/b/c}\n"
    project = Project(tmp_path, "name: x\n", tokens)
    preflight.check_credentials(project.steps("scan"), project)
    pulled = "artifactory: {docker: art.example/docker}\nscan: {image: art.example/docker/scanner}\n"
    project = Project(tmp_path, "name: x\n", tokens + pulled)
    with pytest.raises(CredentialError, match=r"artifactory\.username, which the step scan needs"):
        preflight.check_credentials(project.steps("scan"), project)
