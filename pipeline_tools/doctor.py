"""`doctor`: is everything there that the project's pipeline needs? Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from pipeline_tools import secrets
from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError, PipelineError
from pipeline_tools.masking import mask
from pipeline_tools.plan import Plan
from pipeline_tools.preflight import needed, without_server
from pipeline_tools.process import run
from pipeline_tools.steps import registry


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of one check: what it says, and the error if it failed."""

    name: str
    says: str
    error: PipelineError | None = None


def examine(plan: Plan, configuration: Callable[[str | None], Config]) -> list[Finding]:
    """Check tools, servers and credentials of the plan's steps."""
    config = configuration(None)
    steps = {planned.step for planned in plan.steps()}
    checks: list[tuple[str, Callable[[], str]]] = [("git", _git)]
    if "image" in steps:
        checks.append(("docker", lambda: _docker(config)))
    if steps & {"chart", "deploy"}:
        checks.append(("helm", _helm))
    if steps & {"image", "chart", "publish"}:
        checks.append(("artifactory", lambda: _artifactory(config)))
    if "scan" in steps:
        checks.append(("sonarqube", lambda: _sonarqube(config)))
    for environment in dict.fromkeys(planned.environment for planned in plan.steps()):
        if environment or "scan" in steps:
            name = f"kubernetes {environment}" if environment else "kubernetes"
            checks.append((name, lambda environment=environment: _kubernetes(configuration(environment))))  # type: ignore[misc]
    if config.jenkins.url:
        checks.append(("jenkins", lambda: _jenkins(config)))
    wanted = {credential.id: credential for name in steps for credential in needed(registry()[name], config)}
    for credential in wanted.values():
        for key in credential.config:
            reference = config.value(key)
            if credential.type != "file" and reference:
                checks.append((key, lambda reference=reference: _credential(reference)))  # type: ignore[misc]
    unset = without_server(list(plan.steps()), configuration)
    checks += [(name, partial(_unset, keys)) for name, keys in unset.items() if keys]
    return [_check(name, check) for name, check in checks]


def _check(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, says=check())
    except PipelineError as error:
        return Finding(name=name, says=mask(" → ".join(filter(None, (error.message, error.hint)))), error=error)


def _unset(keys: Sequence[str]) -> NoReturn:
    raise ConfigError(f"{' and '.join(keys)} not set", hint="Set it in the platform file or in pipeline.yml.")


def _git() -> str:
    return run(["git", "--version"], timeout=10).stdout.strip()


def _helm() -> str:
    from pipeline_tools.systems import helm

    return helm.version()


def _docker(config: Config) -> str:
    from pipeline_tools.systems.docker import Engine

    return f"engine {Engine(config.docker, config.artifactory).version()}"


def _artifactory(config: Config) -> str:
    from pipeline_tools.systems.artifactory import from_config

    from_config(config.artifactory).ping()
    return f"answers at {config.artifactory.url}"


def _sonarqube(config: Config) -> str:
    from pipeline_tools.systems.sonarqube import from_config

    return f"{from_config(config.sonarqube).version()} at {config.sonarqube.url}"


def _kubernetes(config: Config) -> str:
    from pipeline_tools.systems.release import connect

    return f"cluster {connect(config.kubernetes).check()}"


def _jenkins(config: Config) -> str:
    from pipeline_tools.systems import jenkins

    return f"{jenkins.version(str(config.jenkins.url))} at {config.jenkins.url}"


def _credential(reference: str) -> str:
    if reference.startswith("secret:"):
        return f"{reference} (read when it is needed)"
    secrets.resolve(reference, masked=False)  # nothing is printed of it here
    return f"{reference} is there"
