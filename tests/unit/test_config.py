from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pipeline_tools.config.explain import explain, overview, whole
from pipeline_tools.config.layers import load
from pipeline_tools.errors import ConfigError


def write(folder: Path, text: str, name: str = "pipeline.yml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_later_layers_win_and_the_origin_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = write(tmp_path, "sonarqube: {url: http://platform}\ndeploy: {namespace: a}\n", "platform.yml")
    write(tmp_path, "name: x\ndeploy:\n  namespace: b\nenvironments:\n  test:\n    deploy: {namespace: c}\n")

    def namespace(environment: str | None = None, *settings: str) -> object:
        found = load(tmp_path, platform=platform, environment=environment, settings=settings)
        return found.config.section("deploy").namespace

    assert namespace() == "b"
    assert namespace("test") == "c"
    monkeypatch.setenv("PIPELINE_TOOLS_DEPLOY__NAMESPACE", "d")
    assert namespace("test") == "d"
    assert namespace("test", "deploy.namespace=e") == "e"

    lines = list(explain(load(tmp_path, platform=platform, environment="test"), "deploy.namespace"))
    assert lines[0] == "deploy.namespace = 'd'"
    assert [line.split(":")[0].strip() for line in lines[2:]] == ["set by", "overrode", "overrode", "overrode"]
    assert any(f"{tmp_path / 'pipeline.yml'}:3" in line for line in lines)
    assert any(f"{platform}:2" in line for line in lines)


def test_environments_keep_their_order_and_their_own_cluster(tmp_path: Path) -> None:
    write(tmp_path, "name: x\nenvironments:\n  prod: {kubernetes: {context: big}}\n")
    assert load(tmp_path, environment="prod").config.kubernetes.context == "big"
    assert load(tmp_path, environment="test").config.kubernetes.context is None
    assert list(load(tmp_path).config.environments) == ["test", "prod"]


@pytest.mark.parametrize(
    ("named", "order"),
    [
        ("{test: {}, pre-prod: {}, prod: {}}", ["test", "pre-prod", "prod"]),
        ("{pre-prod: {}, prod: {}}", ["test", "pre-prod", "prod"]),
        ("{dev: {}, test: {}}", ["dev", "test", "prod"]),
        ("{test: {}, int: {}}", ["test", "int", "prod"]),
        ("{more: {}}", ["test", "prod", "more"]),
        ("{prod: {}, test: {}}", ["prod", "test"]),
    ],
)
def test_environments_are_in_the_projects_order_among_those_of_the_layers_below(
    tmp_path: Path, named: str, order: list[str]
) -> None:
    write(tmp_path, f"name: x\nenvironments: {named}\n")
    assert list(load(tmp_path).config.environments) == order
    assert list(load(tmp_path, environment=order[0]).config.environments) == order


def test_variables_and_flags_do_not_change_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "name: x\nenvironments: {test: {}, int: {}}\n")
    for name in ("TEST", "PROD", "INT"):
        monkeypatch.setenv(f"PIPELINE_TOOLS_ENVIRONMENTS__{name}__VERIFY__URL", "https://x.example")
    flags = [f"environments.{name}.lock=x" for name in ("prod", "a", "int", "test")]
    assert list(load(tmp_path, settings=flags).config.environments) == ["test", "int", "prod", "a"]


def test_environment_sections_of_variables_and_flags_count_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "name: x\nenvironments: {test: {deploy: {timeout: 1m}}}\n")

    def timeout(*settings: str) -> float:
        found: float = load(tmp_path, environment="test", settings=settings).config.section("deploy").timeout
        return found

    assert timeout() == 60
    monkeypatch.setenv("PIPELINE_TOOLS_ENVIRONMENTS__TEST__DEPLOY__TIMEOUT", "2m")
    assert timeout() == 120
    assert timeout("environments.test.deploy.timeout=3m") == 180
    assert timeout("deploy.timeout=4m") == 240


def test_in_a_variable_or_flag_text_needs_no_quotes_and_a_map_keeps_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "name: x\n")
    monkeypatch.setenv("PIPELINE_TOOLS_IMAGE__BUILD_ARGS__HTTP_Proxy", "yes: no")
    settings = ["image.python=3.10", "kubernetes.context=null", "test.paths=[a, b]", "scan.properties={a: '1'}"]
    config = load(tmp_path, settings=settings).config
    assert config.section("image").python == "3.10"
    assert config.section("image").build_args == {"HTTP_Proxy": "yes: no"}
    assert config.kubernetes.context is None
    assert config.section("test").paths == ["a", "b"]
    assert config.section("scan").properties == {"a": "1"}


def test_a_merged_section_gives_what_the_section_itself_does_not_have(tmp_path: Path) -> None:
    write(
        tmp_path,
        "name: x\nenvironments:\n  test: &test\n    approval: true\n    lock: a\n  prod:\n    <<: *test\n    lock: b\n",
    )
    resolved = load(tmp_path)
    assert resolved.config.environments["prod"].approval
    assert resolved.config.environments["prod"].lock == "b"
    assert resolved.origins["environments", "prod", "approval"][-1].place.endswith("pipeline.yml:4")


def test_units_are_read_and_written(tmp_path: Path) -> None:
    write(tmp_path, "name: x\nscan: {timeout: 90s, gate_timeout: 120m, memory: 2048Mi}\n")
    resolved = load(tmp_path)
    scan = resolved.config.section("scan")
    assert (scan.timeout, scan.gate_timeout, scan.memory) == (90, 7200, 2**31)
    assert [next(iter(explain(resolved, f"scan.{name}"))) for name in ("timeout", "gate_timeout", "memory")] == [
        "scan.timeout = '90s'",
        "scan.gate_timeout = '2h'",
        "scan.memory = '2Gi'",
    ]


def test_what_the_platform_file_locks_is_told(tmp_path: Path) -> None:
    platform = write(
        tmp_path, "scan: {namespace: ci}\nlocked:\n- scan\n- environments.prod.approval\n- verify\n", "platform.yml"
    )
    write(tmp_path, "name: x\n")
    resolved = load(tmp_path, platform=platform)
    assert list(explain(resolved, "scan.namespace"))[-1].startswith(f"  locked: {platform}:3: ")
    assert any("locked" in line for line in explain(resolved, "environments.test.verify.enabled"))
    assert not any("locked" in line for line in explain(resolved, "test.paths"))
    assert f"scan.namespace = 'ci'  (platform: {platform}:1, locked at {platform}:3)" in list(overview(resolved))
    assert any(f"locked at {platform}:4" in line for line in overview(resolved) if "prod.approval" in line)


def test_explaining_sections_maps_and_what_an_environment_does_not_set(tmp_path: Path) -> None:
    write(tmp_path, "name: x\nverify:\n  golden: {a: b, c: d}\n")
    resolved = load(tmp_path)
    place = tmp_path / "pipeline.yml"
    assert list(explain(resolved, "verify.golden"))[2:] == [
        f"  verify.golden.a = 'b'  (project: {place}:3)",
        f"  verify.golden.c = 'd'  (project: {place}:3)",
    ]
    assert next(iter(explain(resolved, "verify"))).startswith("verify: a section with enabled, runner, pod, url")
    assert "`--environment test` shows verify.url" in list(explain(resolved, "environments.test.verify.url"))[-1]
    with pytest.raises(ConfigError, match="Did you mean 'namespace'"):
        list(explain(resolved, "scan.namespac"))
    with pytest.raises(ConfigError, match=r"no key 'name\.first'") as caught:
        list(explain(resolved, "name.first"))
    assert caught.value.hint == "name has no keys."


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    write(tmp_path, "name: x\ntest: {timeout: 90m}\nenvironments: {prod: {deploy: {timeout: 2h}}}\n")
    resolved = load(tmp_path)
    short = whole(resolved, defaults=False)
    assert short["test"] == {"timeout": "90m"}
    assert "scan" not in short
    full = whole(resolved, defaults=True)
    assert full["scan"]["timeout"] == "15m"
    assert full["environments"]["prod"] == {"approval": True, "deploy": {"timeout": "2h"}}
    for shown in (short, full):
        (tmp_path / "again").mkdir(exist_ok=True)
        write(tmp_path / "again", yaml.safe_dump(shown))
        assert load(tmp_path / "again").config.model_dump() == resolved.config.model_dump()


def test_where_the_projects_are_below_they_are_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "name: x\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.hint == "There is one in one, two: name one with --project one."
