"""Downloads, builds and pushes whose connection breaks in the middle; and what an engine keeps its images with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline_tools.config import schema
from pipeline_tools.errors import InfrastructureError
from pipeline_tools.systems.artifactory import Artifactory
from pipeline_tools.systems.docker import Engine, pack
from tests.cutting import Cut, serving

ENGINE: dict[str, Any] = {
    "/_ping": b"OK",
    "/version": [{"ApiVersion": "1.41", "Version": "29.0.0"}],
    "/auth": [{"Status": "Login Succeeded"}],
    "/build": [{"stream": "Step 1/1 : FROM scratch\n"}, {"aux": {"ID": "sha256:built"}}],
    "/info": [{"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}],
    "/push": Cut(b'{"status": "Preparing"}'),
}


@pytest.fixture
def artifactory(monkeypatch: pytest.MonkeyPatch) -> schema.Artifactory:
    monkeypatch.setenv("SOMEONE", "someone")
    monkeypatch.setenv("SOMETHING", "something-1")
    return schema.Artifactory.model_validate({"username": "env:SOMEONE", "password": "env:SOMETHING"})


def build(host: str, artifactory: schema.Artifactory, log: list[str]) -> str:
    engine = Engine(schema.Docker.model_validate({"host": f"tcp://{host}"}), artifactory)
    return engine.build(
        pack([]), dockerfile="Dockerfile", tag="a/b:1", arguments={}, labels={}, cache=True, log=log.append
    )


@pytest.mark.parametrize("chunked", [True, False])
def test_a_download_that_breaks_off_leaves_nothing(chunked: bool, tmp_path: Path) -> None:
    with (
        serving({"/a.whl": Cut(b"the beginning")}, chunked=chunked) as host,
        pytest.raises(InfrastructureError, match="did not come to its end") as caught,
    ):
        Artifactory(f"http://{host}/artifactory", "someone", "something").download("pypi/a.whl", tmp_path / "a.whl")
    assert caught.value.transient
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_breaks_off_is_a_matter_of_infrastructure(artifactory: schema.Artifactory) -> None:
    log: list[str] = []
    with (
        serving(ENGINE | {"/build": Cut(b'{"stream": "Step 1/2 : FROM scratch\\n"}')}, chunked=True) as host,
        pytest.raises(InfrastructureError, match="could not build the image"),
    ):
        build(host, artifactory, log)


def test_a_push_that_breaks_off_is_a_matter_of_infrastructure(artifactory: schema.Artifactory) -> None:
    with serving(ENGINE, chunked=True) as host:
        engine = Engine(schema.Docker.model_validate({"host": f"tcp://{host}"}), artifactory)
        with pytest.raises(InfrastructureError, match="could not push a/b:1"):
            engine.push("a/b", "1", log=lambda text: None)


def test_an_image_in_the_store_of_containerd_stays_as_it_was_built(artifactory: schema.Artifactory) -> None:
    log: list[str] = []
    with serving(ENGINE, chunked=True) as host:
        assert build(host, artifactory, log) == "sha256:built"
    assert log[0] == "Step 1/1 : FROM scratch"
    assert [line for line in log if "containerd" in line] == [log[1]]


def test_layers_that_an_engine_does_not_take_are_told(artifactory: schema.Artifactory) -> None:
    inspected = {"Architecture": "amd64", "Os": "linux", "Config": {}, "RootFS": {"Layers": ["sha256:0"]}}
    classic = ENGINE | {
        "/info": [{"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}],
        "/sha256:built/json": [inspected],
        "/images/load": [{"errorDetail": {"message": "no such file"}, "error": "no such file"}],
    }
    with serving(classic, chunked=True) as host, pytest.raises(InfrastructureError, match="could not settle the image"):
        build(host, artifactory, [])
