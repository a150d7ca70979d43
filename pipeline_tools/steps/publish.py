"""`publish`: the wheel to Artifactory, with what it was made from as properties; a version is published once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from pipeline_tools.errors import ConfigError
from pipeline_tools.names import nearest
from pipeline_tools.step import ARTIFACTORY, Context, Json, Step, StepInputs
from pipeline_tools.systems import packages
from pipeline_tools.systems.artifactory import from_config


class Inputs(StepInputs):
    """What is told of the wheel."""

    data: str | None = Field(
        None, description="Path of the submodule that has the data; null: the only submodule, if there is one."
    )


def _reads(_: Context[Inputs]) -> Iterable[str]:
    return ()  # the wheel's digest is among the outputs that it uses


def _data(ctx: Context[Inputs]) -> Mapping[str, str] | None:
    """The submodule with the data, as `promote` told of it."""
    there: dict[str, Mapping[str, str]] = {
        submodule["path"]: submodule for submodule in ctx.outputs["promote"]["submodules"]
    }
    if ctx.inputs.data is None:
        return next(iter(there.values())) if len(there) == 1 else None
    if ctx.inputs.data not in there:
        raise ConfigError(
            f"publish.data names {ctx.inputs.data}, which is no submodule.{nearest(ctx.inputs.data, sorted(there))}",
            hint=f"There are: {', '.join(sorted(there)) or 'none'}.",
        )
    return there[ctx.inputs.data]


def _properties(ctx: Context[Inputs]) -> dict[str, str]:
    """Where the wheel comes from, in names that a search finds."""
    promoted, data = ctx.outputs["promote"], _data(ctx)
    found = {
        "vcs.revision": promoted["commit"],
        "vcs.url": promoted["repository"],
        "build.name": ctx.config.name,
        "build.number": ctx.run_id,
    }
    if data:
        found |= {"lineage.data.revision": data["commit"], "lineage.data.url": data["repository"]}
    figures = ctx.outputs.get("evaluate", {}).get("figures", {})
    return found | {f"lineage.metric.{name}": f"{value:.6g}" for name, value in figures.items()}


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    built, settings = ctx.outputs["export"], ctx.config.artifactory
    file = ctx.project / built["wheel"]
    if not file.is_file():
        raise ConfigError(f"{file} is gone.", hint="`pipeline-tools step export --force` builds it again.")
    target = f"{packages.place(settings, built['name'], built['version'])}/{file.name}"
    properties = _properties(ctx)
    deployed = from_config(settings).upload(file, target, properties)
    ctx.log(f"{deployed.url} {'is published' if deployed.new else 'was published before, the same bytes'}")
    return {
        "url": deployed.url,
        "target": target,
        "index": f"{settings.url}/api/pypi/{settings.pypi}/simple",
        "name": built["name"],
        "version": built["version"],
        "sha256": deployed.sha256,
        "properties": properties,
    }


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    found = from_config(ctx.config.artifactory).sha256(outputs["target"])
    return found is not None and found == str(outputs["sha256"])


EXAMPLE = """\
kind: model
name: my-model
publish:
  data: data
"""

STEP = Step(
    name="publish",
    summary="publish the wheel in Artifactory, with its lineage as properties",
    stage="Publish",
    inputs=Inputs,
    jenkins="publishModel",
    releases=True,
    outputs={
        "url": "address of the wheel",
        "target": "repository and path of the wheel",
        "index": "index for pip",
        "name": "name of the package",
        "version": "its version",
        "sha256": "digest of the wheel",
        "properties": "what Artifactory knows of it",
    },
    example=EXAMPLE,
    requires=("artifactory.url",),
    credentials=(ARTIFACTORY,),
    reads=_reads,
    systems=("artifactory",),
    memory=64 * 2**20,
    needs=("promote", "evaluate", "export"),
    uses=("promote", "evaluate", "export"),
    run=_run,
    still_there=_still_there,
)
