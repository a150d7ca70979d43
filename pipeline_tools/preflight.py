"""What is checked before anything runs: that the servers which steps need are named, and that credentials exist."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_tools import secrets
from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError, CredentialError
from pipeline_tools.plan import PlannedStep, id_of
from pipeline_tools.step import Credential, Step
from pipeline_tools.steps import registry

# Gives the configuration of an environment (None: of none).
Configuration = Callable[[str | None], Config]


def without_server(steps: Sequence[PlannedStep], configuration: Configuration) -> Mapping[str, Sequence[str]]:
    """The steps that cannot work, by id, with the keys that are not set; none for a step that builds on such a one."""
    missing: dict[str, Sequence[str]] = {}
    for planned in steps:
        step, config = registry()[planned.step], configuration(planned.environment)
        unset = [key for key in step.requires if not config.value(key)]
        if unset or any(id_of(name, planned.environment) in missing for name in step.uses):
            missing[planned.id] = unset
    return missing


def leave_out(steps: Sequence[PlannedStep], configuration: Configuration) -> tuple[Sequence[PlannedStep], str]:
    """``steps`` without those that cannot work, and a sentence that says which these are; empty if none."""
    missing = without_server(steps, configuration)
    if not missing:
        return steps, ""
    keys = dict.fromkeys(key for unset in missing.values() for key in unset)
    sentence = (
        f"Left out: {', '.join(missing)}. There is no platform file, and {', '.join(keys)} are not set. → Write one, "
        "as in README.md, and name it with --platform FILE, or put it at ~/.config/pipeline-tools/platform.yml."
    )
    return [planned for planned in steps if planned.id not in missing], sentence


def check_servers(steps: Sequence[PlannedStep], configuration: Configuration) -> None:
    """Look whether ``steps`` have the servers that they need.

    Raises:
        ConfigError: one has not; the message names them all.
    """
    missing = {name: unset for name, unset in without_server(steps, configuration).items() if unset}
    if missing:
        each = "; ".join(f"{name} needs {' and '.join(unset)}" for name, unset in missing.items())
        raise ConfigError(
            f"Keys are not set that steps need: {each}.",
            hint="Set them in the platform file, or leave the step out: `enabled: false` in its section.",
        )


def check_credentials(steps: Sequence[PlannedStep], configuration: Configuration) -> None:
    """Look whether the credentials that ``steps`` need exist; what is in a Kubernetes Secret is left to the step.

    Raises:
        CredentialError: some do not; the message names the key, where it was set and the step, the details the others.
    """
    problems: dict[str, CredentialError] = {}
    for planned in steps:
        config = configuration(planned.environment)
        for credential in needed(registry()[planned.step], config):
            for key in credential.config:
                where = f"{config.place(key)}: {key}"
                for error in _missing(credential, key, config.value(key)):
                    message = f"{where}, which the step {planned.id} needs: {error.message}"
                    problems.setdefault(where, CredentialError(message, hint=error.hint))
    if problems:
        first, *others = problems.values()
        raise CredentialError(first.message, hint=first.hint, details="\n".join(other.message for other in others))


def needed(step: Step[Any], config: Config) -> Sequence[Credential]:
    """The credentials that a step needs under a configuration."""
    return tuple(step.asks(config)) if step.asks else step.credentials


def _missing(credential: Credential, key: str, value: str | None) -> Iterator[CredentialError]:
    try:
        if value is None or value.startswith("secret:"):
            return
        if credential.type == "file":
            secrets.check_file(Path(value))
        else:
            # from now on it is masked, also in the output of steps that do not use it
            secrets.resolve(value, masked=not key.endswith(".username"))
    except CredentialError as error:
        yield error
