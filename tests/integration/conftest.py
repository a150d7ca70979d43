"""Fixtures of several modules: steps for tests; a Jenkins, the one at JENKINS_URL or a server of our own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jenkins
import pytest
import yaml

from pipeline_tools.cli import _catching, cli
from tests import jenkins_server
from tests.integration import loaded, steps_project


@dataclass(kw_only=True)
class Place:
    """A controller, a folder on it that is this test's own and that pipeline-tools did not make, and a platform file.

    ``server`` is None where the controller is a real one.
    """

    url: str
    user: str
    token: str
    root: str
    folder: Path
    server: jenkins_server.Server | None
    client: Any
    owner: str = field(default_factory=lambda: f"tests-{secrets.token_hex(4)}")
    capture: pytest.CaptureFixture[str]

    @property
    def file(self) -> Path:
        return self.folder / "platform.yml"

    def write(self, **sections: Any) -> None:
        """The platform file; names in the sections are below our folder."""
        told = {name: self.inside(about) if isinstance(about, dict) else about for name, about in sections.items()}
        section = {"url": self.url, "username": "env:JENKINS_USER", "token": "env:JENKINS_TOKEN", "owner": self.owner}
        self.file.write_text(yaml.safe_dump({"jenkins": {**section, **told}}, sort_keys=False))

    def inside(self, about: dict[str, Any]) -> dict[str, Any]:
        return {f"{self.root}/{name}": each for name, each in about.items()}

    def tool(self, *words: str) -> tuple[int, str, str]:
        """Run `pipeline-tools jenkins`: exit code, output, errors."""
        argv = ["jenkins", *words, "--platform", str(self.file)]
        self.capture.readouterr()
        code = _catching(lambda: cli.main(args=argv, prog_name="pipeline-tools", standalone_mode=False))()
        said = self.capture.readouterr()
        return code, said.out, said.err

    def script(self, name: str, script: str, *, commit: bool = True, more: str = "") -> str:
        """Make a pipeline job of a script; its full name."""
        full = f"{self.root}/{name}"
        parameter = (
            "<hudson.model.ParametersDefinitionProperty><parameterDefinitions><hudson.model.StringParameterDefinition>"
            "<name>COMMIT</name></hudson.model.StringParameterDefinition></parameterDefinitions>"
            "</hudson.model.ParametersDefinitionProperty>"
        )
        self.client.create_job(
            full,
            f"<flow-definition><properties>{parameter if commit else ''}{more}</properties>"
            '<definition class="org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition">'
            f"<script>{script}</script><sandbox>true</sandbox></definition></flow-definition>",
        )
        return full


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    root = f"tests-{secrets.token_hex(4)}"
    url = os.environ.get("JENKINS_URL")
    if url:
        user, token = os.environ["JENKINS_USER"], os.environ["JENKINS_TOKEN"]
        client = jenkins.Jenkins(url, user, token, timeout=30)
        made = Place(
            url=url, user=user, token=token, root=root, folder=tmp_path, server=None, client=client, capture=capsys
        )
        client.create_folder(root)
        yield made
        client.delete_job(root)
        return
    with jenkins_server.serving() as server:
        user, token = jenkins_server.USER, jenkins_server.TOKEN
        monkeypatch.setenv("JENKINS_USER", user)
        monkeypatch.setenv("JENKINS_TOKEN", token)
        # by its password, which needs a crumb
        client = jenkins.Jenkins(server.url, user, jenkins_server.PASSWORD, timeout=30)
        client.create_folder(root)
        yield Place(
            url=server.url,
            user=user,
            token=token,
            root=root,
            folder=tmp_path,
            server=server,
            client=client,
            capture=capsys,
        )


@pytest.fixture
def ours(place: Place) -> jenkins_server.Server:
    """The server of our own, for what nobody does to a real one."""
    if place.server is None:
        pytest.skip("needs faults that a real Jenkins does not have on demand")
    return place.server


@pytest.fixture(scope="module")
def steps_for_tests() -> Iterator[None]:
    """Every `Loaded` of the module runs the steps of `steps/sitecustomize.py`."""
    with loaded.steps_for_tests(steps_project.ENVIRONMENT):
        yield
