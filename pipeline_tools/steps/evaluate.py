"""`evaluate`: the project's own measurement of its model, against the one in use; what is worse stops here."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from pipeline_tools.config.schema import Config
from pipeline_tools.step import ARTIFACTORY, GIT, Context, Credential, Json, Step
from pipeline_tools.steps import pin
from pipeline_tools.systems import git, packages, program


class Inputs(program.ProgramInputs):
    """How the model is measured."""

    champion: str | None = Field(
        None,
        description="Package whose version in use is the champion: the one that `pin.repository` pins, or else the "
        "newest in Artifactory; null: there is none.",
    )
    compare: list[str] = Field(
        [], description="Words added to the command when there is a champion: `{champion}` is its wheel."
    )


def _in_use(ctx: Context[Inputs]) -> str | None:
    """The champion's version; None: nothing is in use yet."""
    name, config = ctx.inputs.champion, ctx.config
    if name is None or not config.artifactory.url:
        return None
    pinned = pin.pinned(ctx, name) if config.section("pin").enabled and config.section("pin").repository else None
    return pinned or packages.newest(config.artifactory, name)


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    version = _in_use(ctx)
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as folder:
        wheel = None
        if ctx.inputs.champion and version:
            wheel = packages.fetch(ctx.config.artifactory, ctx.inputs.champion, version, Path(folder))
        ctx.log(f"the champion is {wheel.name}" if wheel else "there is no champion to compare with")
        words = ctx.inputs.compare if wheel else []
        outputs = program.judge(ctx, "evaluate", words, {"champion": str(wheel or "")})
    return {**outputs, "champion": version if wheel else None}


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    # another champion since then is another question; only this very model, which was pinned since, is none
    return program.left(ctx, outputs) and _in_use(ctx) in (outputs["champion"], ctx.number)


def _asks(config: Config) -> tuple[Credential, ...]:
    champion = config.section("evaluate").champion and config.artifactory.url
    return (*((ARTIFACTORY,) if champion else ()), *git.asks(config))


EXAMPLE = """\
kind: model
name: my-model
evaluate:
  command: [./evaluate.sh, --out, "{out}"]
  champion: my-model
  compare: [--champion, "{champion}"]
  report: "{out}/evaluation.html"
  summary: "{out}/evaluation.json"
"""

STEP = Step(
    name="evaluate",
    summary="measure the model against the one in use and keep the report",
    stage="Evaluate",
    inputs=Inputs,
    jenkins="evaluateModel",
    outputs={**program.OUTPUTS, "champion": "version of the model that it was compared with"},
    example=EXAMPLE,
    credentials=(ARTIFACTORY, GIT),
    asks=_asks,
    systems=("artifactory",),
    memory=1024 * 2**20,
    needs=("test",),
    reports=program.REPORTS,
    run=_run,
    still_there=_still_there,
)
