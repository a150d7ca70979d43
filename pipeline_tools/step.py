"""What a step is: one declaration, from which the options, the schema, the plan and `resources/steps.json` are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Config

Json = Any  # what json.dumps takes; a recursive alias would make every reader cast

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def duration(value: object) -> float:
    """Seconds of a text with a unit: ``30s``, ``5m``, ``2h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a duration with its unit, such as 30s, 5m or 2h")
    return float(match[1]) * _SECONDS[match[2]]


def size(value: object) -> int:
    """Bytes of a size as Kubernetes writes it: ``512Mi``, ``4Gi``."""
    match = re.fullmatch(r"(\d+)\s*([kMGT]|[KMGT]i)?", value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a size as Kubernetes does, such as 512Mi or 4Gi")
    return int(match[1]) * _BYTES[match[2] or ""]


# In a file: text with a unit. In a program: seconds, bytes.
Duration = Annotated[float, BeforeValidator(duration, json_schema_input_type=str)]
Size = Annotated[int, BeforeValidator(size, json_schema_input_type=str)]


class PodInputs(BaseModel):
    """The pod of a step that runs in one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image: str | None = Field(None, description="Image with this version of pipeline-tools, sh and tar.")
    namespace: str = Field("pipeline-tools", description="Namespace of the pod. It must exist.")
    cpu: str = Field("100m", description="CPU that the pod requests, as Kubernetes writes it.")
    memory_request: Size = Field(size("256Mi"), description="Memory that the pod requests.")
    memory: Size = Field(size("2Gi"), description="Memory that the pod may use.")
    timeout: Duration = Field(duration("1h"), description="How long the pod may live.")
    start_timeout: Duration = Field(duration("5m"), description="How long the pod may take to start.")
    service_account: str | None = Field(None, description="Service account whose token it gets; null: none.")
    node_selector: dict[str, str] = Field({}, description="Labels of the nodes that may run it.")
    tolerations: list[dict[str, Any]] = Field([], description="Tolerations, as Kubernetes writes them.")
    volumes: list[dict[str, Any]] = Field(
        [], description="Volumes, as Kubernetes writes them, each with its mountPath."
    )
    env: dict[str, str] = Field({}, description="Variables that anyone may read.")
    secrets: dict[str, str] = Field({}, description="Variables whose values are references to credentials.")
    settings: dict[str, Any] = Field(
        {}, description="Keys of the configuration that differ in the pod, such as an address: `artifactory.url: …`."
    )
    image_pull_secret: str | None = Field(None, description="Secret of the namespace that pulls the image.")


class StepInputs(BaseModel):
    """What every step can be told; a step adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="Whether the step is part of the plan.")
    runner: Literal["local", "pod"] = Field("local", description="Where the step runs: here, or in a pod.")
    pod: PodInputs = Field(PodInputs(), description="The pod, if it runs in one.")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A credential that a step needs: ``config``: the keys with its references, ``variables``: what Jenkins binds."""

    id: str
    type: Literal["secret-text", "username-password", "file"]
    config: tuple[str, ...]
    variables: tuple[str, ...]


SONARQUBE_TOKEN = Credential(
    id="sonarqube-token", type="secret-text", config=("sonarqube.token",), variables=("SONAR_TOKEN",)
)
ARTIFACTORY = Credential(
    id="artifactory",
    type="username-password",
    config=("artifactory.username", "artifactory.password"),
    variables=("ARTIFACTORY_USER", "ARTIFACTORY_PASSWORD"),
)
KUBECONFIG = Credential(id="kubeconfig", type="file", config=("kubernetes.kubeconfig",), variables=("KUBECONFIG",))

InputsT = TypeVar("InputsT", bound=StepInputs)


@dataclass(kw_only=True)
class Context(Generic[InputsT]):
    """What a step works with.

    Attributes:
        project: the project's folder (where ``pipeline.yml`` is).
        config: the whole resolved configuration, for the environment if there is one.
        inputs: the step's own section of it.
        out: a folder of this step in this run, for the files that it leaves.
        outputs: what earlier steps returned, by step id (``image``, ``deploy-test``).
        log: takes a line for the user and the step's log.
        version: ``1.0.0-g1a2b3c4d5e6f``; with ``-dirty`` when the work tree differs from the commit.
        branch: empty when no branch is checked out.
        tracked: the project's tracked files, where git cannot be asked: in a pod. None: git is asked.
    """

    project: Path
    config: Config
    inputs: InputsT
    environment: str | None
    out: Path
    outputs: Mapping[str, Mapping[str, Json]]
    log: Callable[[str], None]
    version: str
    commit: str
    branch: str
    run_id: str
    tracked: tuple[str, ...] | None = None

    def files(self) -> list[Path]:
        """The project's git-tracked files that exist, relative to `project`, sorted."""
        if self.tracked is not None:
            return [Path(name) for name in self.tracked]
        from pipeline_tools.systems import git

        return git.files(self.project)

    def relative(self, path: Path) -> str:
        """``path`` as it is recorded in outputs: relative to the project, so that a moved checkout stays valid."""
        return path.relative_to(self.project).as_posix()


def _whole_project(_: Any) -> Iterable[str]:
    return (".",)


@dataclass(frozen=True, kw_only=True)
class Step(Generic[InputsT]):
    """The declaration of a step.

    Attributes:
        outputs: name and description of what `run` returns.
        reads: the files and folders, relative to the project, whose content decides whether the step must run again.
        systems: sections of the configuration that it reads besides its own (``sonarqube``).
        needs: the steps that must have passed before; ``uses``: those of them whose outputs it reads.
        tools: programs (of `systems.tools`) whose version decides about the result as well.
        memory: bytes that it takes on this machine, at most; steps run beside each other while there is room.
        reports: kind and file (in the step's folder) of what Jenkins publishes.
        always: run it each time: it asks the outside world, which may have changed.
        still_there: whether the effect that an earlier run recorded still exists outside; None for a step whose only
            effect is its files.
    """

    name: str
    summary: str
    stage: str
    inputs: type[InputsT]
    outputs: Mapping[str, str]
    run: Callable[[Context[InputsT]], Mapping[str, Json]]
    credentials: tuple[Credential, ...] = ()
    reads: Callable[[Context[InputsT]], Iterable[str]] = _whole_project
    systems: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    per_environment: bool = False
    tools: tuple[str, ...] = ()
    memory: int = 256 * 2**20
    always: bool = False
    reports: Mapping[str, str] = field(default_factory=dict)
    still_there: Callable[[Context[InputsT], Mapping[str, Json]], bool] | None = None
