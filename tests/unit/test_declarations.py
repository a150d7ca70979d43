"""Every step, command and error class keeps the common rules."""

from __future__ import annotations

import click
import pytest

from pipeline_tools import errors
from pipeline_tools.cli import cli
from pipeline_tools.config import schema
from pipeline_tools.plan import KINDS
from pipeline_tools.steps import MODULES, registry


@pytest.mark.parametrize("name", MODULES)
def test_a_step_is_declared_in_full(name: str) -> None:
    step = registry()[name]
    assert step.name == name
    assert step.summary
    assert step.outputs
    assert step.inputs.__doc__
    for field, declared in step.inputs.model_fields.items():
        assert declared.description, f"{name}.{field} has no description"
        assert not declared.is_required(), f"{name}.{field} must have a default: the section may be absent"
    assert set(step.needs) | set(step.uses) <= set(MODULES)
    assert set(step.uses) <= set(step.needs)
    assert set(step.systems) <= set(schema.model().model_fields)
    for key in step.requires:
        section, _, field = key.partition(".")
        assert field in (schema.keys((section,)) or ()), key
    for credential in step.credentials:
        for key in credential.config:
            section, _, field = key.partition(".")
            assert field in schema.SYSTEMS[section].model_fields


def test_kinds_name_steps_in_the_order_of_their_needs() -> None:
    for steps in KINDS.values():
        for position, name in enumerate(steps):
            assert set(registry()[name].needs) & set(steps) <= set(steps[:position])


def test_each_class_of_error_has_an_exit_code_of_its_own() -> None:
    ours: list[type[errors.PipelineError]] = [errors.PipelineError]
    ours += [cls for cls in errors.PipelineError.__subclasses__() if cls.__module__ == errors.__name__]
    assert len({cls.exit_code for cls in ours}) == len(ours) == 7
    assert len({cls.kind for cls in ours}) == len(ours)


def test_every_command_and_option_has_a_help_text() -> None:
    def walk(command: click.Command, path: str) -> None:
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.name}"
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                walk(below, f"{path} {name}")

    walk(cli, "pipeline-tools")


def test_every_command_is_known() -> None:
    found = set()

    def walk(command: click.Command, path: str) -> None:
        if not isinstance(command, click.Group):
            found.add(path)
            return
        for name, below in command.commands.items():
            walk(below, f"{path} {name}".strip())

    walk(cli, "")
    assert found == {
        "completion",
        "config explain",
        "config show",
        "doctor",
        "diff",
        "generate",
        "history",
        "init",
        "lineage",
        "plan",
        "run",
        "schema",
        "show",
        "step",
    }
