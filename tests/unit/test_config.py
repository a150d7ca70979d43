from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tools.config.explain import explain
from pipeline_tools.config.layers import load
from pipeline_tools.errors import ConfigError


def write(folder: Path, text: str, name: str = "pipeline.yml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_later_layers_win_and_the_origin_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = write(tmp_path, "sonarqube: {url: http://platform}\nscan: {namespace: a}\n", "platform.yml")
    write(tmp_path, "name: x\nscan:\n  namespace: b\nenvironments:\n  test:\n    scan: {namespace: c}\n")

    def namespace(environment: str | None = None, *settings: str) -> object:
        found = load(tmp_path, platform=platform, environment=environment, settings=settings)
        return found.config.section("scan").namespace

    assert namespace() == "b"
    assert namespace("test") == "c"
    monkeypatch.setenv("PIPELINE_TOOLS_SCAN__NAMESPACE", "d")
    assert namespace("test") == "d"
    assert namespace("test", "scan.namespace=e") == "e"

    lines = list(explain(load(tmp_path, platform=platform, environment="test"), "scan.namespace"))
    assert lines[0] == "scan.namespace = 'd'"
    assert [line.split(":")[0].strip() for line in lines[2:]] == ["set by", "overrode", "overrode", "overrode"]
    assert any(f"{tmp_path / 'pipeline.yml'}:3" in line for line in lines)
    assert any(f"{platform}:2" in line for line in lines)


def test_environments_keep_their_order_and_their_own_cluster(tmp_path: Path) -> None:
    write(tmp_path, "name: x\nenvironments:\n  prod: {kubernetes: {context: big}}\n")
    assert load(tmp_path, environment="prod").config.kubernetes.context == "big"
    assert load(tmp_path, environment="test").config.kubernetes.context is None
    assert list(load(tmp_path).config.environments) == ["test", "prod"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nscna: {}\n", "pipeline.yml:2: unknown key 'scna'. Did you mean 'scan'?"),
        ("name: x\nscan:\n  namspace: y\n", "pipeline.yml:3: unknown key 'scan.namspace'. Did you mean 'namespace'?"),
        ("name: x\nenvironments:\n  test:\n    aproval: true\n", "pipeline.yml:4: unknown key"),
        ("name: x\nenvironments:\n  test:\n    deploy: {nmespace: a}\n", "Did you mean 'namespace'?"),
        ("name: x\nname: y\n", "pipeline.yml:2: the key name stands here a second time"),
        ("name: [x\n", "pipeline.yml:2: is not valid YAML"),
        ("- a\n", "pipeline.yml:1: expected keys and values"),
        ("kind: service\n", "the key 'name' is missing"),
        ("name: x\nkind: servce\n", "pipeline.yml:2: kind: input should be 'service' or 'library'"),
        ("name: Not_A_Name\n", "pipeline.yml:1: name:"),
        ("name: x\ntest:\n  timeout: 30\n", "pipeline.yml:3: test.timeout: write a duration with its unit"),
        ("name: x\ntest: 3\n", "pipeline.yml:2: test:"),
        ("name: x\nsonarqube:\n  token: s3cr3t-token\n", "pipeline.yml:3: sonarqube.token must be a reference"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_is_valid(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert message in caught.value.message
    assert "s3cr3t-token" not in f"{caught.value.message} {caught.value.details}"


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no pipeline\.yml") as caught:
        load(tmp_path)
    assert "--project" in caught.value.hint
    write(tmp_path, "name: x\n")
    with pytest.raises(ConfigError, match="does not exist"):
        load(tmp_path, platform=tmp_path / "none.yml")
    with pytest.raises(ConfigError, match="Did you mean 'prod'"):
        load(tmp_path, environment="prd")
    with pytest.raises(ConfigError, match="expected key=value"):
        load(tmp_path, settings=["scan.namespace"])
    with pytest.raises(ConfigError, match="Did you mean 'namespace'"):
        list(explain(load(tmp_path), "scan.namespac"))
