"""The schema of the configuration: one for the packaged defaults, the platform file and the project's file.

As JSON Schema it comes in two forms: for a project's `pipeline.yml`, and for the platform file, which need not name a
project and may lock keys.
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import psutil
from pydantic import BaseModel, Field, PrivateAttr, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from pipeline_tools import __version__
from pipeline_tools.config.jenkins import Jobs
from pipeline_tools.config.section import REFERENCE, Reference, Section
from pipeline_tools.step import Cpu, Duration, Form, Json, Size, Url, duration, size
from pipeline_tools.steps import registry

# Helm releases, Kubernetes objects and image repositories are all named after the project.
Name = Annotated[
    str,
    Form(
        "[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?",
        "write lower-case letters, digits and hyphens, 50 at most, such as my-service",
    ),
]
Version = Annotated[str, Form(r"[0-9]+\.[0-9]+\.[0-9]+", "write three numbers, such as 1.2.3")]
LOCKED = "Keys and sections that no project, environment, variable or flag may set."


class Docker(Section):
    """The Docker engine that builds and pushes."""

    host: str | None = Field(
        None, description="Address of the engine, unix:///… or tcp://…; null: as the docker client."
    )


class Artifactory(Section):
    """The repository manager: wheels, images and charts."""

    url: Url | None = Field(None, description="Base URL, https://HOST/artifactory.")
    username: Reference = Field("env:ARTIFACTORY_USER", description="Reference to the user's name.")
    password: Reference = Field("env:ARTIFACTORY_PASSWORD", description="Reference to the password or token.")
    docker: str | None = Field(None, description="Prefix of images, HOST/REPOSITORY.")
    helm: str | None = Field(None, description="OCI repository of charts, oci://HOST/REPOSITORY.")
    pypi: str = Field("pypi-local", description="Name of the PyPI repository.")
    generic: str = Field("generic-local", description="Name of the generic repository.")
    insecure: bool = Field(False, description="Allow plain HTTP; for a laboratory only.")


class SonarQube(Section):
    """The SonarQube server."""

    url: Url | None = Field(None, description="Base URL of the server.")
    token: Reference = Field("env:SONAR_TOKEN", description="Reference to the token that analyses.")


class Kubernetes(Section):
    """The cluster; an environment may name another one."""

    kubeconfig: str | None = Field(None, description="Path of the kubeconfig; null: KUBECONFIG or ~/.kube/config.")
    context: str | None = Field(None, description="Context in it; null: the current one.")


class JenkinsAgent(Section):
    """Where the Jenkins library runs a pipeline: a pod for the whole of it, or an agent that is there already."""

    label: str | None = Field(None, description="Label of agents to use, `any` for every node; null: a pod.")
    cloud: str | None = Field(None, description="Kubernetes cloud of Jenkins that makes the pod; null: the only one.")
    image: str = Field(
        f"pipeline-tools-agent:{__version__}", description="Image of the pod, made by resources/agent/Dockerfile."
    )
    docker: str | None = Field(
        None, description="Image of a Docker engine beside it in the pod; null: docker.host names one, or none is used."
    )
    namespace: str | None = Field(None, description="Namespace of the pod; null: the cloud's.")
    cpu: Cpu = Field("500m", description="CPU that the pod requests, as Kubernetes writes it.")
    memory: Size = Field(size("2Gi"), description="Memory that the pod requests, and may use.")


class Jenkins(Jobs):
    """The Jenkins controller, what it keeps, and how the Jenkins library runs pipelines there."""

    url: Url | None = Field(None, description="Base URL of the controller.")
    agent: JenkinsAgent = Field(
        JenkinsAgent(), description="Where pipelines run. Read from resources/platform.yml of a library of your own."
    )
    credentials: dict[str, str] = Field(
        {}, description="Ids of credentials in Jenkins, where they are not ours: `artifactory: their-id`."
    )
    deploy_from: list[str] = Field(
        ["main", "master", "develop"],
        description="Branches of a multibranch job, as patterns, from which is deployed, promoted and published; it is "
        "never from a pull request.",
    )
    quality: Literal["failure", "unstable"] = Field(
        "failure", description="Result of a build whose tests, gate or predictions are not good enough."
    )
    html: Literal["publish", "archive"] = Field(
        "publish", description="What becomes of HTML reports: a page of the build (plugin htmlpublisher), or a file."
    )
    markup: Literal["text", "html"] = Field(
        "text", description="How a build is described: as the controller's markup formatter is set."
    )
    step_timeout: Duration = Field(duration("2h"), description="How long a step may take, whatever its own limit is.")
    approval_timeout: Duration = Field(duration("1d"), description="How long a build waits for an approval.")


class Git(Section):
    """The git repositories: how versions are tagged, and their server as the steps that push use it."""

    tag_prefix: str = Field("v", description="What stands before the version in tags.")
    username: Reference | None = Field(None, description="Reference to the user's name.")
    password: Reference | None = Field(
        None, description="Reference to the password or token, for HTTP; null: git finds its own, as on a laptop."
    )
    ssh_key: str | None = Field(None, description="Path of the private key; null: ssh finds its own.")
    known_hosts: str | None = Field(None, description="File with the servers' keys; null: ssh's own.")
    author: Annotated[str, Form(r"[^<>\n]+ <[^<>\n]*>", "write NAME <ADDRESS>")] = Field(
        "pipeline-tools <pipeline-tools@localhost>", description="Who makes the commits and tags of steps."
    )
    host: Literal["github", "gitlab", "bitbucket"] | None = Field(
        None, description="What the server is, to open pull requests through its API; null: none is opened."
    )
    api: Url | None = Field(None, description="Base URL of that API; null: that of the public service.")
    token: Reference | None = Field(None, description="Reference to the token that opens pull requests.")


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


class Lineage(Section):
    """How `pipeline-tools lineage` looks at what it finds."""

    sources: list[str] = Field(
        ["fuentes", "sources", "raw"],
        description="Names of the folders, anywhere in the data's repository, with what the data was extracted from.",
    )


SYSTEMS: dict[str, type[Section]] = {
    "docker": Docker,
    "artifactory": Artifactory,
    "sonarqube": SonarQube,
    "kubernetes": Kubernetes,
    "jenkins": Jenkins,
    "git": Git,
    "run": Run,
    "lineage": Lineage,
}


class Environment(Section):
    """A place to deploy to. Sections of systems and of the steps that run in it win here over those outside."""

    approval: bool = Field(False, description="Whether a deployment needs someone's approval.")
    approvers: list[str] = Field(
        [], description="Users and groups of Jenkins who may approve; empty: whoever may start the build."
    )
    lock: str | None = Field(None, description="Name of the lock that deployments take; null: NAME-ENVIRONMENT.")


class _Base(Section):
    kind: Literal["service", "library", "data", "model", "chart"] = Field(
        description="What the project is: decides the steps of its pipeline."
    )
    name: Name = Field(description="Name of the project, the image, the chart's release and the SonarQube project.")
    version: Version | None = Field(
        None, description="Version of the project, to which the commit is added; null: from tags and commits."
    )


class Config(_Base):
    """What a step sees. Built by `model` with a section for each step."""

    docker: Docker
    artifactory: Artifactory
    sonarqube: SonarQube
    kubernetes: Kubernetes
    jenkins: Jenkins
    git: Git
    run: Run
    lineage: Lineage
    environments: dict[str, Environment]

    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def section(self, name: str) -> Any:
        """The section of a step or system."""
        return getattr(self, name)

    def value(self, key: str) -> Any:
        """The value of a key of a section, such as ``sonarqube.url``."""
        section, _, name = key.partition(".")
        return getattr(self.section(section), name)

    def remember(self, places: Mapping[str, str]) -> None:
        """Keep where each key was set; part of loading."""
        self._places = places

    def place(self, key: str) -> str:
        """Where ``key`` was set: ``platform.yml:4``, a variable, a flag; for messages."""
        return self._places.get(key, "the default")


@cache
def model() -> type[Config]:
    """`Config` with a field for each step and environments that may override any section."""
    systems: dict[str, Any] = {name: (section, Field(default_factory=section)) for name, section in SYSTEMS.items()}
    steps: dict[str, Any] = {
        name: (step.inputs, Field(default_factory=step.inputs)) for name, step in registry().items()
    }
    placed = {name: steps[name] for name, step in registry().items() if step.per_environment}
    # In an environment only the keys that are set there count: the layers are merged before.
    environment = create_model("Environment", __base__=Environment, __doc__=Environment.__doc__, **systems, **placed)
    return create_model(
        "Config",
        __base__=Config,
        **systems,
        **steps,
        environments=(
            dict[Name, environment],
            Field(default_factory=dict, description="Where to deploy to, in this order."),
        ),
    )


def field(path: tuple[str, ...]) -> FieldInfo | None:
    """The declaration of a key; None where there is none: in an environment's name, in a map's keys."""
    above = at(path[:-1])
    return above.model_fields.get(path[-1]) if is_section(above) else None


def at(path: tuple[str, ...]) -> Any:
    """The type of a key: a section's class, a ``dict[…]``, or a value's type; None: there is no such key."""
    current: Any = model()
    for name in path:
        if is_section(current):
            declared = current.model_fields.get(name)
            current = _plain(declared.annotation) if declared else None
        elif get_origin(current) is dict:
            current = _plain(get_args(current)[1])
        else:
            return None
    return current


def is_section(annotation: Any) -> bool:
    """Whether a type is a section's."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def is_map(annotation: Any) -> bool:
    """Whether a type holds keys: a section, or a map with keys of the user's own."""
    return is_section(annotation) or get_origin(annotation) is dict


def is_reference(path: tuple[str, ...]) -> bool:
    """Whether the key holds a reference to a credential."""
    declared = field(path)
    return declared is not None and REFERENCE in declared.metadata


def keys(path: tuple[str, ...]) -> list[str] | None:
    """The names that are valid below ``path``; None where anything is (an environment's name, a map's keys)."""
    current = at(path)
    return list(current.model_fields) if is_section(current) else None


def _plain(annotation: Any) -> Any:
    """A type without ``| None`` and `Annotated`."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        first, *others = [part for part in get_args(annotation) if part is not type(None)]
        return annotation if others else _plain(first)
    return annotation


class Generator(GenerateJsonSchema):
    """JSON Schema without titles, which only repeat the keys' names, and with defaults as a file would say them."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No."""
        return False

    def get_default_value(self, schema: Any) -> Any:
        """``15m``, not 900."""
        default = super().get_default_value(schema)
        written = schema["schema"].get("serialization")
        return written["function"](default) if written else default


def json_schema(form: Literal["project", "platform"] = "project") -> Json:
    """The JSON Schema (draft 2020-12) of a project's `pipeline.yml`, or of the platform file."""
    schema = model().model_json_schema(schema_generator=Generator)
    for definition in (schema, *schema["$defs"].values()):
        definition.pop("title", None)
        for key in definition["properties"].values():
            if "patternProperties" in key:  # else a name that does not fit the pattern would be taken for any other key
                key["additionalProperties"] = False
    schema["required"] = ["name"] if form == "project" else []
    if form == "platform":
        schema["properties"]["locked"] = {"type": "array", "items": {"type": "string"}, "description": LOCKED}
    for name, step in registry().items():
        schema["properties"][name]["description"] = f"The step {name}: {step.summary}."
    about = "pipeline.yml of a project" if form == "project" else "the platform file"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"pipeline-tools: {about}",
        **schema,
    }
