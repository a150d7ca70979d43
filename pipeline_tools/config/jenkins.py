"""The section `jenkins`: the controller, and the folders, jobs and views that `jenkins seed` keeps there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline_tools.config.section import Reference, Section
from pipeline_tools.step import Form, Url

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+ -]{0,98}"
FullName = Annotated[
    str,
    Form(f"{_PART}(/{_PART})*", "write letters, digits and ._+- , with / between folders, such as claims/service"),
]
Identifier = Annotated[str, Form(r"[A-Za-z0-9_.-]+", "write the id of a credential: letters, digits and ._- only")]
Owner = Annotated[str, Form(r"[A-Za-z0-9_.-]{1,60}", "write letters, digits and ._- only")]
_FIELD = r"[-0-9A-Za-z*/,()]+"
Cron = Annotated[
    str,
    Form(
        rf"(TZ=\S+\n)?({_FIELD}([ \t]+{_FIELD}){{4}}|@(yearly|annually|monthly|weekly|daily|midnight|hourly))",
        "write five fields as Jenkins does, such as 'H 2 * * *', or @daily",
    ),
]
# What Jenkins offers in its own form, and each in milliseconds.
SCANS = {
    f"{count}{unit}": count * factor
    for unit, factor, counts in (
        ("m", 60_000, (1, 2, 5, 10, 15, 20, 25, 30)),
        ("h", 3_600_000, (1, 2, 4, 8, 12)),
        ("d", 86_400_000, (1, 2, 7, 14, 28)),
    )
    for count in counts
}
Scan = Literal[
    "1m", "2m", "5m", "10m", "15m", "20m", "25m", "30m", "1h", "2h", "4h", "8h", "12h", "1d", "2d", "7d", "14d", "28d"
]


class Library(Section):
    """A shared library that the jobs of a folder can load."""

    name: str = Field("pipeline-tools", description="Name, as in `@Library('pipeline-tools')`.")
    repository: str | None = Field(None, description="Address of its git repository.")
    version: str = Field("master", description="Branch, tag or commit that is loaded.")
    credentials: Identifier | None = Field(None, description="Id of the credential that reads the repository.")


class Folder(Section):
    """A folder."""

    description: str = Field("", description="Shown on its page.")
    library: Library | None = Field(None, description="Shared library for its jobs; null: that of the controller.")


class Parameter(Section):
    """A parameter of a pipeline job."""

    type: Literal["text", "choice", "boolean"] = Field("text", description="What it takes.")
    description: str = Field("", description="Shown beside it.")
    default: str | bool = Field("", description="Its value when none is given; of a choice: one of the choices.")
    choices: list[str] = Field([], description="What a choice is made from.")

    @model_validator(mode="after")
    def _fits(self) -> Parameter:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices belong to the type choice, and a choice needs some")
        if self.type == "choice" and self.default not in ("", *self.choices):
            raise ValueError(f"the default must be one of the choices: {', '.join(self.choices)}")
        if (self.type == "boolean") != isinstance(self.default, bool) and self.default != "":
            raise ValueError("the default of a boolean is true or false, that of any other a text")
        return self


class Triggers(Section):
    """What starts a pipeline job."""

    cron: Cron | None = Field(None, description="At these times, in Jenkins' form: `H 2 * * *`.")
    poll: Cron | None = Field(None, description="When there are new commits, looked for at these times.")
    after: list[FullName] = Field([], description="After these jobs have passed.")


class Job(Section):
    """A job: of a whole repository (multibranch), or of one branch (pipeline)."""

    kind: Literal["multibranch", "pipeline"] = Field("multibranch", description="What it is.")
    description: str = Field("", description="Shown on its page.")
    repository: str | None = Field(None, description="Address of the git repository.")
    credentials: Identifier | None = Field(None, description="Id of the credential that reads the repository.")
    jenkinsfile: str = Field("Jenkinsfile", description="Path of the Jenkinsfile in it.")
    keep: int = Field(50, ge=1, description="How many builds, and of branches that are gone how many, are kept.")
    disabled: bool = Field(False, description="Do not build it.")
    host: Literal["git", "github", "gitlab", "bitbucket"] = Field(
        "git",
        description="Multibranch: what the server is. Only git needs no further plugin and knows no pull requests.",
    )
    api: Url | None = Field(None, description="Multibranch: base URL of a server of your own (GitHub, Bitbucket).")
    server: str = Field("default", description="Multibranch: name of the GitLab server in Jenkins' settings.")
    pull_requests: bool = Field(
        True, description="Multibranch: build pull requests from the repository itself (never from forks)."
    )
    branches: list[str] = Field(["*"], description="Multibranch: names or patterns of branches to build.")
    scan: Scan | None = Field("1d", description="Multibranch: look for branches at least this often; null: never.")
    branch: str = Field("master", description="Pipeline: the branch.")
    concurrent: bool = Field(False, description="Pipeline: whether builds may run beside each other.")
    parameters: dict[str, Parameter] = Field(
        {}, description="Pipeline: its parameters, besides COMMIT; none: those that its Jenkinsfile sets."
    )
    triggers: Triggers = Field(Triggers(), description="Pipeline: what starts it.")

    @model_validator(mode="after")
    def _fits(self) -> Job:
        other = {"multibranch": PIPELINE_KEYS, "pipeline": MULTIBRANCH_KEYS}[self.kind]
        strays = [name for name in other if name in self.model_fields_set]
        if strays:
            raise ValueError(f"a {self.kind} job has no {' and no '.join(strays)}: is its kind right?")
        return self


MULTIBRANCH_KEYS = ("host", "api", "server", "pull_requests", "branches", "scan")
PIPELINE_KEYS = ("branch", "concurrent", "parameters", "triggers")


class View(Section):
    """A list of jobs."""

    description: str = Field("", description="Shown on its page.")
    jobs: list[str] = Field([], description="Jobs in it, by their names from the view's folder on.")
    regex: str | None = Field(None, description="Jobs whose names match are in it as well.")
    recurse: bool = Field(False, description="Look into folders.")


class Jobs(Section):
    """What is kept in a controller, and as which user."""

    username: Reference | None = Field("env:JENKINS_USER", description="Reference to the user's name; null: nobody.")
    token: Reference | None = Field("env:JENKINS_TOKEN", description="Reference to the user's API token.")
    owner: Owner = Field("default", description="Whose jobs these are: several platform files can seed one controller.")
    required_credentials: list[Identifier] = Field(
        [], description="Ids of credentials that the controller must have, besides those that jobs name."
    )
    folders: dict[FullName, Folder] = Field({}, description="Folders, by full name.")
    jobs: dict[FullName, Job] = Field({}, description="Jobs, by full name: claims/service.")
    views: dict[FullName, View] = Field({}, description="Views, by full name; in a folder: claims/NAME.")
