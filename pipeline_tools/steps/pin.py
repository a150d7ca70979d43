"""`pin`: propose the published version to the service that uses it: a branch, tested, and a pull request."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline_tools import process
from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError, QualityError
from pipeline_tools.masking import mask
from pipeline_tools.step import (
    ARTIFACTORY,
    GIT,
    GIT_TOKEN,
    Context,
    Credential,
    Duration,
    Json,
    Step,
    StepInputs,
    duration,
)
from pipeline_tools.systems import git, githost, packages

# Others may push at the same time: what is on the server is looked at so often before giving up.
LOOKS = 3
LAST_LINES = 30


class Inputs(StepInputs):
    """Where the version is pinned."""

    repository: str | None = Field(
        None, description="Repository of the service; `../service.git` is beside this project's own."
    )
    branch: str = Field("develop", description="Branch that the change is for.")
    folder: str = Field(".", description="Folder of the service in its repository: where its `pipeline.yml` is.")
    file: str = Field("requirements.txt", description="Requirements file with the version, in that folder.")
    test: list[str] = Field(
        [],
        description="Program that tests the change, run in that folder; empty: the step `test` of the service's own "
        "pipeline.",
    )
    settings: dict[str, str] = Field(
        {},
        description="Keys of the service's configuration that differ in that step: `test.paths: '[tests/model]'`.",
    )
    timeout: Duration = Field(duration("30m"), description="How long the tests may take.")


def _reads(_: Context[Inputs]) -> Iterable[str]:
    return ()


def _address(ctx: Context[Any]) -> str:
    """The service's repository, found from this project's own if it is relative."""
    repository = str(ctx.config.section("pin").repository)
    remote = ctx.config.section("promote").remote
    own = git.Repository(ctx.project, ctx.config.git, remote=remote)
    return git.resolve_url(own.address, repository) if repository.startswith(".") else repository


def pinned(ctx: Context[Any], package: str) -> str | None:
    """The version of a package that the service pins; None: none."""
    inputs: Inputs = ctx.config.section("pin")
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
        git.clone(_address(ctx), Path(scratch), ctx.config.git, branch=inputs.branch)
        return packages.pinned_version(_text(Path(scratch), inputs), package)


def _text(clone: Path, inputs: Inputs) -> str:
    file = clone / inputs.folder / inputs.file
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{inputs.folder}/{inputs.file} of the service cannot be read: {type(error).__name__}.",
            hint="Set pin.folder and pin.file.",
        ) from error


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    published = ctx.outputs["publish"]
    package, version = str(published["name"]), str(published["version"])
    branch = f"pin/{package}-{version}"
    for _ in range(LOOKS):
        with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
            service = git.clone(_address(ctx), Path(scratch), ctx.config.git, branch=ctx.inputs.branch)
            done = _propose(ctx, service, branch, package, version)
        if done is not None:
            break
    else:
        raise InfrastructureError(f"{branch} of {service.url} changed each time that it was to be set.")
    commit, before = done
    opened = None
    if commit is not None:
        title = f"{package} {version}"
        opened = githost.propose(
            ctx.config.git, service.url, branch, ctx.inputs.branch, title, _body(published, before)
        )
        ctx.log(f"pull request: {opened}" if opened else f"git.host is not set: the branch {branch} is what is left")
    return {
        "repository": service.url,
        "branch": branch if commit else ctx.inputs.branch,
        "commit": commit,
        "version": version,
        "before": before,
        "pull_request": opened,
    }


def _propose(
    ctx: Context[Inputs], service: git.Repository, branch: str, package: str, version: str
) -> tuple[str | None, str | None] | None:
    """The commit of the branch (None: the version is in use already) and the version before; None: try again."""
    changed = packages.pin(_text(service.folder, ctx.inputs), package, version, str(ctx.outputs["publish"]["sha256"]))
    file = service.folder / ctx.inputs.folder / ctx.inputs.file
    if changed.text == _text(service.folder, ctx.inputs):
        ctx.log(f"{ctx.inputs.branch} pins {package} {version} already")
        return None, changed.version
    if not changed.hashed:
        ctx.log(f"no line of {ctx.inputs.file} has a hash: the version is pinned without one")
    ref = f"refs/heads/{branch}"
    there = service.refs(ref).get(ref)
    file.write_bytes(changed.text.encode())
    if there is not None:
        service.fetch(ref)
        base = service.git("rev-parse", "HEAD").stdout.strip()
        same = service.git("diff", "--quiet", there, "--", ".", ok=(0, 1)).exit_code == 0
        if same and service.is_ancestor(base, there):
            ctx.log(f"{branch} is there already")
            return there, changed.version
    _test(ctx, service.folder / ctx.inputs.folder)
    message = f"Use {package} {version}\n\n{_body(ctx.outputs['publish'], changed.version)}"
    service.git("add", "--", f"{ctx.inputs.folder}/{ctx.inputs.file}")
    service.git("commit", "--quiet", "--no-verify", "--file=-", stdin=message.encode())
    commit = service.git("rev-parse", "HEAD").stdout.strip()
    if service.push({ref: (commit, there)}):
        return None
    ctx.log(f"pushed {branch} ({commit[:12]})")
    return commit, changed.version


def _body(published: Mapping[str, Json], before: str | None) -> str:
    """What the commit and the pull request say."""
    lines = [f"It was {before}." if before else "It was not pinned.", f"sha256 of the wheel: {published['sha256']}", ""]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in published["properties"].items())])


def _test(ctx: Context[Inputs], folder: Path) -> None:
    """Run the service's tests with the new version; nothing is pushed that does not pass them."""
    own = [sys.executable, "-m", "pipeline_tools", "step", "test", "--log-format", "plain"]
    own += [f"--set={key}={value}" for key, value in ctx.inputs.settings.items()]
    argv = ctx.inputs.test or own
    done = process.run(argv, cwd=folder, timeout=ctx.inputs.timeout, log=ctx.log, ok=range(256))
    if done.exit_code:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise failure(done.exit_code, mask(said), ours=not ctx.inputs.test)


def failure(exit_code: int, said: str, *, ours: bool) -> PipelineError:
    """Our error for tests that ended so; ``ours``: of our own command, whose exit codes are those of `errors`."""
    if exit_code == QualityError.exit_code or (exit_code == 1 and not ours):
        return QualityError(
            "The service does not pass its tests with the new version.",
            hint="Nothing was pushed. The output of the step has each failure in full.",
            details=said,
        )
    classes = (PipelineError, InfrastructureError, CredentialError) if ours else ()
    kind = next((each for each in classes if each.exit_code == exit_code), ConfigError)
    return kind(
        f"The service's tests could not run (exit code {exit_code}).",
        hint="Its output above says why.",
        details=said,
    )


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    service = git.Repository(ctx.project, ctx.config.git, url=_address(ctx))
    name = f"refs/heads/{outputs['branch']}"
    head = service.refs(name).get(name)
    return head is not None and outputs["commit"] in (None, head)


def _asks(config: Config) -> tuple[Credential, ...]:
    token = (GIT_TOKEN,) if config.git.host else ()
    return (*((ARTIFACTORY,) if config.artifactory.url else ()), *git.asks(config), *token)


EXAMPLE = """\
kind: model
name: my-model
pin:
  repository: ../my-service.git
  branch: develop
"""

STEP = Step(
    name="pin",
    summary="propose the published version to the service: a tested branch and a pull request",
    stage="Pin",
    inputs=Inputs,
    jenkins="pinModel",
    releases=True,
    outputs={
        "repository": "address of the service's repository",
        "branch": "branch that pins the version",
        "commit": "its commit; null: the version was pinned already",
        "version": "the version",
        "before": "the version that was pinned before",
        "pull_request": "address of the pull request, if there is one",
    },
    example=EXAMPLE,
    requires=("pin.repository",),
    credentials=(ARTIFACTORY, GIT, GIT_TOKEN),
    asks=_asks,
    reads=_reads,
    memory=1024 * 2**20,
    needs=("publish",),
    uses=("publish",),
    run=_run,
    still_there=_still_there,
)
