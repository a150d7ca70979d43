"""Credentials in a Kubernetes Secret: read through the API as its reference describes it, wherever one is asked for."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from pipeline_tools import secrets
from pipeline_tools.config import schema
from pipeline_tools.errors import CredentialError
from pipeline_tools.systems import artifactory
from tests.cutting import serving
from tests.integration.test_run import LIBRARY, commit, git, project, tool

__all__ = ["git", "project"]

SECRET = "/api/v1/namespaces/ci/secrets/artifactory"
DATA = {"user": base64.b64encode(b"someone").decode(), "password": base64.b64encode(b"of-the-cluster-1").decode()}
REFERENCES = {"username": "secret:ci/artifactory/user", "password": "secret:ci/artifactory/password"}


def kubeconfig(folder: Path, host: str) -> Path:
    file = folder / "kubeconfig"
    about = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://{host}"}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    file.write_text(yaml.safe_dump(about))
    return file


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_clusters", [])


def test_a_system_takes_its_login_from_the_cluster(tmp_path: Path) -> None:
    settings = schema.Artifactory.model_validate({"url": "http://127.0.0.1:9/artifactory", **REFERENCES})
    with serving({SECRET: [{"kind": "Secret", "data": DATA}]}, chunked=False) as host:
        file = kubeconfig(tmp_path, host)
        secrets.read_from(schema.Kubernetes.model_validate({"kubeconfig": str(file)}))
        assert artifactory.from_config(settings)._session.auth == ("someone", "of-the-cluster-1")
        with pytest.raises(CredentialError, match="has no key other"):
            secrets.resolve("secret:ci/artifactory/other")


def test_a_cluster_that_nobody_asks_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMETHING", "something-1")
    secrets.read_from(schema.Kubernetes.model_validate({"kubeconfig": "/nonexistent"}))
    assert secrets.resolve("env:SOMETHING") == "something-1"


def test_a_step_reads_from_the_cluster_of_its_configuration(project: Path, tmp_path: Path) -> None:
    (project / "requirements.txt").write_text("")
    with serving({}, chunked=False) as host:
        settings = {
            "artifactory": {"url": "http://127.0.0.1:9/artifactory", **REFERENCES},
            "kubernetes": {"kubeconfig": str(kubeconfig(tmp_path, host)), "context": "c"},
        }
        library = LIBRARY.replace("[sample]", "[sample], requirements: [requirements.txt]")
        (project / "pipeline.yml").write_text(library + yaml.safe_dump(settings))
        commit(project)
        result = tool(project, "run", PIPELINE_TOOLS_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 5, result.stderr
    assert "There is no Secret artifactory in namespace ci" in result.stderr
