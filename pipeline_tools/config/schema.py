"""The schema of the configuration: one for the packaged defaults, the platform file and the project's file."""

from __future__ import annotations

import os
from functools import cache
from typing import Annotated, Any, Literal

import psutil
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, create_model

from pipeline_tools.secrets import REFERENCE_PATTERN
from pipeline_tools.step import Duration, Size, duration
from pipeline_tools.steps import registry

Reference = Annotated[str, StringConstraints(pattern=REFERENCE_PATTERN)]
# Helm releases, Kubernetes objects and image repositories are all named after the project.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$")]


class Section(BaseModel):
    """A section refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Docker(Section):
    """The Docker engine that builds and pushes."""

    host: str | None = Field(
        None, description="Address of the engine, unix:///… or tcp://…; null: as the docker client."
    )


class Artifactory(Section):
    """The repository manager: wheels, images and charts."""

    url: str | None = Field(None, description="Base URL, https://HOST/artifactory.")
    username: Reference = Field("env:ARTIFACTORY_USER", description="Reference to the user's name.")
    password: Reference = Field("env:ARTIFACTORY_PASSWORD", description="Reference to the password or token.")
    docker: str | None = Field(None, description="Prefix of images, HOST/REPOSITORY.")
    helm: str | None = Field(None, description="OCI repository of charts, oci://HOST/REPOSITORY.")
    pypi: str = Field("pypi-local", description="Name of the PyPI repository.")
    generic: str = Field("generic-local", description="Name of the generic repository.")
    insecure: bool = Field(False, description="Allow plain HTTP; for a laboratory only.")


class SonarQube(Section):
    """The SonarQube server."""

    url: str | None = Field(None, description="Base URL of the server.")
    token: Reference = Field("env:SONAR_TOKEN", description="Reference to the token that analyses.")


class Kubernetes(Section):
    """The cluster; an environment may name another one."""

    kubeconfig: str | None = Field(None, description="Path of the kubeconfig; null: KUBECONFIG or ~/.kube/config.")
    context: str | None = Field(None, description="Context in it; null: the current one.")


class Jenkins(Section):
    """The Jenkins controller."""

    url: str | None = Field(None, description="Base URL of the controller.")


class Run(Section):
    """How runs are made."""

    jobs: int | None = Field(None, ge=1, description="Steps at a time, at most; null: as many as there are cores.")
    memory: Size | None = Field(None, description="Memory for the steps at work together; null: what is free.")
    attempts: int = Field(3, ge=1, description="Tries of a step that failed for an infrastructure reason, at most.")
    retries: int = Field(6, ge=0, description="Second and later tries of all steps of a run together, at most.")
    ledger: Literal["local", "artifactory"] = Field(
        "local", description="Where the ledger is kept: only here, or also in Artifactory, to go on elsewhere."
    )
    traces: bool = Field(False, description="Send each run as an OpenTelemetry trace, where OTEL_* variables say.")
    wait: Duration = Field(duration("2s"), description="Wait before the second try; it grows, and varies by chance.")

    def parallel(self) -> int:
        """How many steps may be at work."""
        return self.jobs or os.cpu_count() or 1

    def memory_limit(self) -> int:
        """How much the steps at work may take together, bytes."""
        return self.memory or int(psutil.virtual_memory().available)


SYSTEMS: dict[str, type[Section]] = {
    "docker": Docker,
    "artifactory": Artifactory,
    "sonarqube": SonarQube,
    "kubernetes": Kubernetes,
    "jenkins": Jenkins,
    "run": Run,
}


class Environment(Section):
    """A place to deploy to. Any section of a system or a step can stand in it and wins over the one outside."""

    approval: bool = Field(False, description="Whether a deployment needs someone's approval.")
    lock: str | None = Field(None, description="Name of the lock that deployments take; null: NAME-ENVIRONMENT.")


class _Base(Section):
    kind: Literal["service", "library"] = Field(description="What the project is: decides the steps of its pipeline.")
    name: Name = Field(description="Name of the project, the image, the chart's release and the SonarQube project.")
    version: str = Field(description="Version of the project; the commit is added to it.", pattern=r"^\d+\.\d+\.\d+$")


class Config(_Base):
    """What a step sees. Built by `model` with a section for each step."""

    docker: Docker
    artifactory: Artifactory
    sonarqube: SonarQube
    kubernetes: Kubernetes
    jenkins: Jenkins
    run: Run
    environments: dict[str, Environment]

    def section(self, name: str) -> Any:
        """The section of a step or system."""
        return getattr(self, name)


@cache
def model() -> type[Config]:
    """`Config` with a field for each step and environments that may override any section."""
    sections: dict[str, Any] = {name: (section, section()) for name, section in SYSTEMS.items()}
    sections |= {name: (step.inputs, step.inputs()) for name, step in registry().items()}
    # In an environment only the keys that are set there count: the merge happens before validation.
    overrides: dict[str, Any] = dict.fromkeys(sections, (dict[str, Any] | None, None))
    environment = create_model("Environment", __base__=Environment, **overrides)
    return create_model(
        "Config",
        __base__=Config,
        **sections,
        environments=(dict[Name, environment], Field(default_factory=dict)),
    )


def keys(path: tuple[str, ...]) -> list[str] | None:
    """The names that are valid below ``path``; None where anything is (an environment's name, a map's keys)."""
    if path == ("environments",):
        return None
    if len(path) > 1 and path[0] == "environments":
        if len(path) == 2:
            top = [name for name in model().model_fields if name not in ("kind", "name", "version", "environments")]
            return [*Environment.model_fields, *top]
        return keys(path[2:])
    current: Any = model()
    for name in path:
        field = current.model_fields.get(name) if _is_model(current) else None
        current = field.annotation if field else None
    return list(current.model_fields) if _is_model(current) else None


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
