"""What a step is: one declaration, from which the options, the schema, the plan and `resources/steps.json` are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Config

# Few enough digits that no number overflows.
DURATION_PATTERN = r"([0-9]{1,9}(?:\.[0-9]{1,20})?) ?(ms|s|m|h|d)"
SIZE_PATTERN = r"([0-9]{1,15}) ?([kMGT]|[KMGT]i)?"

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


LONGEST = 366 * _SECONDS["d"]


def duration(value: object) -> float:
    """Seconds of a text with a unit: ``30s``, ``5m``, ``2h``."""
    match = re.fullmatch(DURATION_PATTERN, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a duration with its unit, such as 30s, 5m or 2h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST:
        raise ValueError("write a duration of a year at most")
    return seconds


def duration_text(seconds: float) -> str:
    """The shortest text that `duration` reads as ``seconds``."""
    whole = [unit for unit in ("d", "h", "m", "s") if seconds % _SECONDS[unit] == 0]
    if whole and seconds:
        return f"{int(seconds / _SECONDS[whole[0]])}{whole[0]}"
    return f"{Decimal(repr(seconds)).normalize():f}s"


def size(value: object) -> int:
    """Bytes of a size as Kubernetes writes it: ``512Mi``, ``4Gi``."""
    match = re.fullmatch(SIZE_PATTERN, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("write a size as Kubernetes does, such as 512Mi or 4Gi")
    return int(match[1]) * _BYTES[match[2] or ""]


def size_text(size: int) -> str:
    """The shortest text that `size` reads as that many bytes."""
    whole = [unit for unit in ("Ti", "T", "Gi", "G", "Mi", "M", "Ki", "k", "") if size % _BYTES[unit] == 0]
    texts = [f"{size // _BYTES[unit]}{unit}" for unit in whole]
    return min(texts, key=len) if size else "0"


# In a file: text with a unit. In a program: seconds, bytes.
Duration = Annotated[
    float,
    BeforeValidator(duration, json_schema_input_type=Annotated[str, Field(pattern=f"^{DURATION_PATTERN}$")]),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
]
Size = Annotated[
    int,
    BeforeValidator(size, json_schema_input_type=Annotated[str, Field(pattern=f"^{SIZE_PATTERN}$")]),
    PlainSerializer(size_text, return_type=str, when_used="json"),
]


@dataclass(frozen=True)
class Form:
    """A text's form: its pattern, and for who got it wrong, what to write."""

    pattern: str
    advice: str

    def check(self, value: str) -> str:
        """``value`` if it has the form.

        Raises:
            ValueError: it has not.
        """
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(self.advice)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


Url = Annotated[
    str, Form(r"https?://[^/@\s]+(/[^@\s]*)?", "write an address, https://HOST/PATH, without user or password in it")
]
Cpu = Annotated[str, Form(r"[0-9]+m|[0-9]+(\.[0-9]{1,3})?", "write CPU as Kubernetes does, such as 100m or '0.5'")]


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


class RunnerInputs(StepInputs):
    """Of a step that can run in a pod as well."""

    runner: Literal["local", "pod"] = Field("local", description="Where the step runs: here, or in a pod.")
    pod: PodInputs = Field(PodInputs(), description="The pod, if it runs in one.")


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A credential that a step needs: ``config``: the keys with its references, ``variables``: what Jenkins binds."""

    id: str
    type: Literal["secret-text", "username-password", "file", "ssh-key"]
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
GIT = Credential(
    id="git",
    type="username-password",
    config=("git.username", "git.password"),
    variables=("GIT_USERNAME", "GIT_PASSWORD"),
)
# For Jenkins only: on a laptop ssh finds its own. It is bound when `jenkins.credentials` names it.
GIT_SSH_KEY = Credential(
    id="git-ssh-key", type="ssh-key", config=("git.ssh_key",), variables=("PIPELINE_TOOLS_GIT__SSH_KEY",)
)
GIT_TOKEN = Credential(id="git-token", type="secret-text", config=("git.token",), variables=("GIT_TOKEN",))
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

    @property
    def number(self) -> str:
        """The three numbers of `version`."""
        return self.version.partition("-g")[0]

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
        example: a `pipeline.yml` that uses it.
        requires: keys without which it cannot work: addresses of servers.
        credentials: what Jenkins binds around it; ``asks``: those of them that it needs under a configuration (all of
            them if None).
        reads: the files and folders, relative to the project, whose content decides whether the step must run again.
        systems: sections of the configuration that it reads besides its own (``sonarqube``).
        needs: the steps that must have passed before; ``uses``: those of them whose outputs it reads.
        tools: programs (of `systems.tools`) whose version decides about the result as well.
        memory: bytes that it takes on this machine, at most; steps run beside each other while there is room.
        reports: kind and file (in the step's folder) of what Jenkins publishes.
        jenkins: name of the step in the Jenkins library; None: ``run`` and its own name.
        releases: others see or use what it does: not from a pull request.
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
    example: str
    requires: tuple[str, ...] = ()
    credentials: tuple[Credential, ...] = ()
    asks: Callable[[Config], Collection[Credential]] | None = None
    reads: Callable[[Context[InputsT]], Iterable[str]] = _whole_project
    systems: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    per_environment: bool = False
    tools: tuple[str, ...] = ()
    memory: int = 256 * 2**20
    jenkins: str | None = None
    releases: bool = False
    always: bool = False
    reports: Mapping[str, str] = field(default_factory=dict)
    still_there: Callable[[Context[InputsT], Mapping[str, Json]], bool] | None = None
