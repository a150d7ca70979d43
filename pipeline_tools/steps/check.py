"""`check`: the project's own checks of its data, with a report; what is not good enough stops here."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from pipeline_tools.step import GIT, Context, Json, Step
from pipeline_tools.systems import git, program


class Inputs(program.ProgramInputs):
    """How the data are checked."""

    compare: list[str] = Field(
        [], description="Words added to the command when a version was promoted before: `{previous}` is its commit."
    )


def _previous(ctx: Context[Inputs]) -> str | None:
    """The commit that was promoted last; it is here afterwards. None: there is none, or it is this one."""
    promote = ctx.config.section("promote")
    server = git.Repository(ctx.project, ctx.config.git, remote=promote.remote)
    target = f"refs/heads/{promote.target}"
    refs = server.refs(target, f"refs/tags/{ctx.config.git.tag_prefix}*")
    commit = refs.pop(target, None)
    if commit == ctx.commit or commit not in refs.values():
        return None
    server.fetch(target)
    return commit


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    previous = _previous(ctx) if ctx.inputs.compare else None
    words = ctx.inputs.compare if previous else []
    ctx.log(f"comparing with {previous}" if previous else "there is no other version to compare with")
    return program.judge(ctx, "check", words, {"previous": previous or ""})


EXAMPLE = """\
kind: data
name: my-data
check:
  command: [./check.sh, --out, "{out}"]
  compare: [--since, "{previous}"]
  report: "{out}/report.html"
  summary: "{out}/summary.json"
"""

STEP = Step(
    name="check",
    summary="run the project's checks of its data and keep their report",
    stage="Check",
    inputs=Inputs,
    jenkins="checkData",
    outputs=program.OUTPUTS,
    example=EXAMPLE,
    credentials=(GIT,),
    asks=git.asks,
    memory=1024 * 2**20,
    reports=program.REPORTS,
    run=_run,
    still_there=program.left,
)
