"""What is generated is complete, and what it says is true."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pipeline_tools.config import schema
from pipeline_tools.config.layers import load
from pipeline_tools.errors import ConfigError
from pipeline_tools.generate import generate, generated, schema_text
from pipeline_tools.step import PodInputs
from pipeline_tools.steps import registry
from tests.unit.test_malformed import CASES, Case, run

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = Draft202012Validator(json.loads(schema_text("project")))
PLATFORM = Draft202012Validator(json.loads(schema_text("platform")))


def examples(page: str) -> list[str]:
    """The blocks of YAML in a written page."""
    return re.findall(r"^```yaml\n(.*?)^```", (CHECKOUT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_schemas_are_schemas() -> None:
    for validator in (PROJECT, PLATFORM):
        Draft202012Validator.check_schema(validator.schema)


def test_every_key_has_a_description() -> None:
    def walk(node: Any, path: str) -> None:
        for name, below in node.get("properties", {}).items():
            assert below.get("description") or "$ref" in below, f"{path}.{name}"
        for name, definition in node.get("$defs", {}).items():
            assert definition["description"], name
            walk(definition, name)

    walk(PROJECT.schema, "")
    walk(PLATFORM.schema, "")


@pytest.mark.parametrize("file", [path.relative_to(CHECKOUT).as_posix() for path in CHECKOUT.glob("*/pipeline.yml")])
def test_our_own_projects_satisfy_the_schema(file: str) -> None:
    text = (CHECKOUT / file).read_text("utf-8")
    PROJECT.validate(yaml.safe_load(text))
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found, "an editor finds the schema"
    assert ((CHECKOUT / file).parent / found[1]).resolve() == CHECKOUT / "resources/pipeline.schema.json"


@pytest.mark.parametrize(
    "page",
    ["README.md", "docs/configuration.md", "docs/jenkins.md", "docs/jenkins-jobs.md", "docs/from-piper.md"],
)
def test_written_examples_satisfy_the_schema_and_load(page: str, tmp_path: Path) -> None:
    blocks = examples(page)
    assert blocks
    for text in blocks:
        platform = text.startswith("# platform.yml")
        (PLATFORM if platform else PROJECT).validate(yaml.safe_load(text))
        (tmp_path / "pipeline.yml").write_text("name: x\n" if platform else text)
        (tmp_path / "platform.yml").write_text(text if platform else "")
        assert load(tmp_path, platform=tmp_path / "platform.yml").config.name


@pytest.mark.parametrize("name", registry())
def test_a_steps_example_uses_the_step(name: str, tmp_path: Path) -> None:
    example = registry()[name].example
    PROJECT.validate(yaml.safe_load(example))
    (tmp_path / "pipeline.yml").write_text(example)
    resolved = load(tmp_path)
    assert any(name in path for path in resolved.origins)


def test_the_defaults_satisfy_the_schema_as_they_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pipeline.yml").write_text("name: x\n")
    assert run(["config", "show", "--resolved", "--json", "--project", str(tmp_path)]) == 0
    PROJECT.validate(json.loads(capsys.readouterr().out))


# What only reading finds: where a thing stands in the text, and values that are not in pipeline.yml.
BEYOND = (
    "stands",
    "a second time",
    "locked",
    "of a year",
    "not UTF-8",
    "has no end",
    "aliases followed",
    "half of a character",
)


def seen_by_a_schema(case: Case) -> bool:
    if not case.place.startswith("pipeline.yml") or any(words in case.says for words in BEYOND):
        return False
    try:
        yaml.safe_load(case.text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return False
    return True


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if seen_by_a_schema(case)])
def test_the_schema_refuses_what_loading_refuses(name: str) -> None:
    with pytest.raises(ValidationError):
        PROJECT.validate(yaml.safe_load(CASES[name].text))


def test_the_schema_command_prints_what_is_in_the_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("project", "platform"):
        assert run(["schema", form]) == 0
        name = "pipeline" if form == "project" else "platform"
        assert capsys.readouterr().out == (CHECKOUT / f"resources/{name}.schema.json").read_text("utf-8")
    assert "locked" in json.loads(schema_text("platform"))["properties"]
    assert "locked" not in json.loads(schema_text("project"))["properties"]


def test_every_step_has_a_page_with_all_of_its_declaration() -> None:
    pages = generated()
    for step in registry().values():
        page = pages[f"docs/steps/{step.name}.md"]
        assert f"[{step.name}]({step.name}.md)" in pages["docs/steps/README.md"]
        declarations = dict(step.inputs.model_fields)
        if declarations.pop("pod", None):
            declarations |= {f"pod.{name}": declared for name, declared in PodInputs.model_fields.items()}
        for name, declared in declarations.items():
            row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
            assert str(declared.description).replace("|", "\\|") in row
        for name in (*step.outputs, *step.requires, *(credential.id for credential in step.credentials)):
            assert f"`{name}`" in page
        assert step.example in page
    assert '| `timeout` | duration | `"30m"` | ms, s, m, h, d |' in pages["docs/steps/test.md"]
    assert '| `memory` | size | `"2Gi"` |' in pages["docs/steps/scan.md"]


def test_the_check_names_each_file_that_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate(tmp_path, check=False) == 0
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"wrote {name}" for name in generated())
    assert generate(tmp_path, check=True) == 0
    (tmp_path / "docs/steps/test.md").write_text("old")
    (tmp_path / "resources/steps.json").unlink()
    shutil.copy(tmp_path / "docs/steps/scan.md", tmp_path / "docs/steps/gone.md")
    capsys.readouterr()
    assert generate(tmp_path, check=True) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in told] == ["docs/steps/gone.md", "docs/steps/test.md", "resources/steps.json"]
    assert generate(tmp_path, check=False) == 0
    assert generate(tmp_path, check=True) == 0
    assert not (tmp_path / "docs/steps/gone.md").exists()


def test_a_section_that_a_schema_takes_in_an_environment_is_the_same_as_outside(tmp_path: Path) -> None:
    for name in schema.SYSTEMS:
        PROJECT.validate({"name": "x", "environments": {"test": {name: {}}}})
    with pytest.raises(ValidationError):
        PROJECT.validate({"name": "x", "environments": {"test": {"deploy": {"timeout": 5}}}})
    (tmp_path / "pipeline.yml").write_text("name: x\nenvironments: {test: {deploy: {timeout: 5}}}\n")
    with pytest.raises(ConfigError, match="a duration with its unit"):
        load(tmp_path)
