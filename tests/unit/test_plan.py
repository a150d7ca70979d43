from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_tools import plan
from pipeline_tools.config.layers import load
from pipeline_tools.errors import ConfigError


def make(folder: Path, text: str) -> plan.Plan:
    (folder / "pipeline.yml").write_text(text, encoding="utf-8")
    return plan.make(lambda environment: load(folder, environment=environment).config)


def test_the_plan_of_a_service(tmp_path: Path) -> None:
    made = make(tmp_path, "name: x\n").as_json()
    shape = [
        (
            stage["name"],
            stage["approval"],
            stage["lock"],
            [[step["id"] for step in branch] for branch in stage["branches"]],
        )
        for stage in made["stages"]
    ]
    assert shape == [
        ("Test", False, None, [["test"]]),
        ("Build", False, None, [["scan"], ["image"], ["chart"]]),
        ("TEST", False, "x-test", [["deploy-test", "verify-test"]]),
        ("PROD", True, "x-prod", [["deploy-prod", "verify-prod"]]),
    ]


def test_a_step_that_is_off_is_not_in_the_plan(tmp_path: Path) -> None:
    made = make(tmp_path, "name: x\nkind: library\nscan: {enabled: false}\n")
    assert [step.id for step in made.steps()] == ["test"]


def test_a_step_may_be_off_in_one_environment_only(tmp_path: Path) -> None:
    made = make(
        tmp_path,
        "name: x\nverify: {enabled: false}\n"
        "environments:\n  test: {deploy: {enabled: false}}\n  prod: {verify: {enabled: true}}\n  more: {}\n",
    )
    steps = {step.id: step.needs for step in made.steps() if step.environment}
    assert list(steps) == ["deploy-prod", "verify-prod", "deploy-more"]
    assert steps["deploy-prod"] == ("scan", "image", "chart")
    assert steps["verify-prod"] == ("image", "deploy-prod")
    assert steps["deploy-more"][-2:] == ("deploy-prod", "verify-prod")
    assert [stage.name for stage in made.stages] == ["Test", "Build", "PROD", "MORE"]


def test_selecting(tmp_path: Path) -> None:
    made = make(tmp_path, "name: x\n")

    def ids(**request: object) -> list[str]:
        return [step.id for step in plan.select(made, **request)]  # type: ignore[arg-type]

    assert len(ids()) == 8
    assert ids(until="image") == ["test", "scan", "image"]
    assert ids(environment="test") == ["test", "scan", "image", "chart", "deploy-test", "verify-test"]
    assert ids(steps=["deploy"], environment="prod") == ["deploy-prod"]
    assert ids(steps=["verify-test", "test"]) == ["test", "verify-test"]
    assert ids(steps=["test"], until="scan") == ["test"]
    assert ids(steps=["deploy"], until="deploy-test") == ["deploy-test"]
    with pytest.raises(ConfigError, match="up to test there is no image"):
        ids(steps=["image"], until="test")
    with pytest.raises(ConfigError, match="Did you mean 'image'"):
        ids(steps=["imge"])
    with pytest.raises(ConfigError, match="no step 'deploy-prod'"):
        ids(steps=["deploy-prod"], environment="test")


def test_a_step_that_is_off_is_told_as_one_that_may_be(tmp_path: Path) -> None:
    made = make(tmp_path, "name: x\nscan: {enabled: false}\n")
    with pytest.raises(ConfigError) as caught:
        plan.select(made, steps=["scan"])
    assert "config explain scan.enabled" in caught.value.hint
