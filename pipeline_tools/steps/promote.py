"""`promote`: the tested commit, from the branch of development to the one that counts; all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import Field

from pipeline_tools.errors import ConfigError, InfrastructureError
from pipeline_tools.step import GIT, Context, Json, Step, StepInputs
from pipeline_tools.systems import git

# Others may promote at the same time: what is on the server is looked at so often before giving up.
LOOKS = 4


class Inputs(StepInputs):
    """What is promoted to where."""

    remote: str = Field("origin", description="Remote of the server.")
    source: str = Field("develop", description="Branch whose commit was tested.")
    target: str = Field("master", description="Branch that gets it, fast-forward only.")
    submodule_branch: str = Field("master", description="Branch of a submodule's own that must have its commit.")


def _reads(_: Context[Inputs]) -> Iterable[str]:
    return ()  # the commit counts, not the files: it always runs


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    if git.revision(ctx.project).dirty:
        raise ConfigError(
            "The work tree differs from the commit: what was tested is in no commit.",
            hint="Commit the changes, and let that commit be tested.",
        )
    server = git.Repository(ctx.project, ctx.config.git, remote=ctx.inputs.remote)
    submodules = _submodules(ctx)
    for _ in range(LOOKS):
        version = _promote(ctx, server)
        if version is not None:
            break
    else:
        raise InfrastructureError(f"{ctx.inputs.target} of {server.url} changed each time that it was to be set.")
    server.fetch_tag(ctx.config.git.tag_prefix + version)  # the next run's version is the one after it
    return {
        "commit": ctx.commit,
        "version": version,
        "tag": ctx.config.git.tag_prefix + version,
        "branch": ctx.inputs.target,
        "repository": server.url,
        "submodules": submodules,
    }


def _promote(ctx: Context[Inputs], server: git.Repository) -> str | None:
    """Look at the server, and set branch and tag; the version, or None when someone else was faster."""
    source, target, tags = (f"refs/heads/{ctx.inputs.source}", f"refs/heads/{ctx.inputs.target}", "refs/tags/")
    refs = server.refs(source, target, f"{tags}{ctx.config.git.tag_prefix}*")
    before = refs.get(target)
    if before is not None:
        server.fetch(target)
    known = {name.removeprefix(tags): commit for name, commit in refs.items() if name.startswith(tags)}
    version = git.version(ctx.project, ctx.commit, prefix=ctx.config.git.tag_prefix, tags=known)
    tag = ctx.config.git.tag_prefix + version
    if before is not None and server.is_ancestor(ctx.commit, before):
        if known.get(tag) == ctx.commit:
            ctx.log(f"{ctx.commit[:12]} was promoted before, as {tag}")
            return version
        if before != ctx.commit:
            raise ConfigError(
                f"{ctx.inputs.target} has {ctx.commit[:12]} already, without a version: a later commit was promoted.",
                hint=f"Run the pipeline on what {ctx.inputs.source} is at now.",
            )
    if refs.get(source) != ctx.commit:
        there = refs.get(source)
        raise ConfigError(
            f"{ctx.commit[:12]} is not what {ctx.inputs.source} of {server.url} is at: "
            + (f"that is {there[:12]}." if there else "there is no such branch."),
            hint="Only a commit that is there as it was tested is promoted: push it, or test what is there.",
        )
    if before is not None and not server.is_ancestor(before, ctx.commit):
        raise ConfigError(
            f"{ctx.inputs.target} of {server.url} has commits that {ctx.inputs.source} has not ({before[:12]}).",
            hint=f"Bring them into {ctx.inputs.source} first: `git merge origin/{ctx.inputs.target}`, and test that.",
        )
    message = f"{ctx.config.name} {version}\n\nPromoted from {ctx.inputs.source} by run {ctx.run_id}."
    made = server.make_tag(tag, ctx.commit, message)
    said = server.push({target: (ctx.commit, before), tags + tag: (made, None)})
    if said:
        ctx.log(f"{server.url} changed meanwhile: looking again")
        return None
    ctx.log(f"{ctx.inputs.target} of {server.url} is at {ctx.commit[:12]}, {tag}")
    return version


def _submodules(ctx: Context[Inputs]) -> list[dict[str, str]]:
    """Path, commit and address of each submodule, whose commit is on its own branch that counts."""
    found = []
    for submodule in git.submodules(ctx.project, ctx.commit):
        if submodule.checked_out != submodule.commit:
            raise ConfigError(
                f"The submodule {submodule.path} is at {submodule.checked_out[:12]}, the commit wants "
                f"{submodule.commit[:12]}.",
                hint="`git submodule update`, or commit the other one.",
            )
        server = git.Repository(submodule.folder, ctx.config.git)
        branch = f"refs/heads/{ctx.inputs.submodule_branch}"
        head = server.refs(branch).get(branch)
        if head is not None:
            server.fetch(branch)
        if head is None or not server.is_ancestor(submodule.commit, head):
            raise ConfigError(
                f"The submodule {submodule.path} is at {submodule.commit[:12]}, which is not on "
                f"{ctx.inputs.submodule_branch} of {server.url}.",
                hint="Promote it there first.",
            )
        found.append({"path": submodule.path, "commit": submodule.commit, "repository": server.url})
    return found


EXAMPLE = """\
kind: data
name: my-data
promote:
  source: develop
  target: main
"""

STEP = Step(
    name="promote",
    summary="move the tested commit to the branch that counts, with a tag of its version",
    stage="Promote",
    inputs=Inputs,
    jenkins="promoteCommit",
    releases=True,
    outputs={
        "commit": "the commit",
        "version": "its version, from tags and commits",
        "tag": "annotated tag of the version",
        "branch": "branch that is at the commit, or was",
        "repository": "address of the repository",
        "submodules": "path, commit and address of each submodule",
    },
    example=EXAMPLE,
    credentials=(GIT,),
    asks=git.asks,
    reads=_reads,
    memory=64 * 2**20,
    needs=("test", "check", "evaluate"),
    always=True,
    run=_run,
)
