"""`image`: build the container image and push it; what counts from then on is its digest."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.utils import canonicalize_name
from pydantic import Field

from pipeline_tools.errors import ConfigError
from pipeline_tools.lineage.words import (
    MODEL,
    MODEL_SHA256,
    MODEL_VERSION,
    REVISION,
    SOURCE,
    TITLE,
    VERSION,
)
from pipeline_tools.names import nearest
from pipeline_tools.step import ARTIFACTORY, Context, Json, RunnerInputs, Step
from pipeline_tools.systems import commits, docker, packages, pip
from pipeline_tools.systems.artifactory import from_config

WHEELS = "wheels"


class Inputs(RunnerInputs):
    """How the image is built."""

    context: str = Field(".", description="Folder that is sent to the build.")
    dockerfile: str = Field("Dockerfile", description="Dockerfile, relative to the context.")
    build_args: dict[str, str] = Field({}, description="Build arguments. Never a secret: they stay in the image.")
    cache: bool = Field(True, description="Whether layers of earlier builds are used again; false: all is built anew.")
    wheels: str | None = Field(
        None,
        description="Requirements file whose wheels are brought into the context's folder `wheels/` before the build, "
        "so that it needs neither network nor credentials.",
    )
    python: str = Field("3.11", description="Python of the image, for which wheels are chosen.")
    model: str | None = Field(
        None,
        description="Name of the package among the wheels that is the model: its version and digest become labels.",
    )
    installer: str = Field("pip==26.2", description="Installer whose wheel is brought along.")


def _context(ctx: Context[Inputs]) -> Path:
    folder = (ctx.project / ctx.inputs.context).resolve()
    if not (folder / ctx.inputs.dockerfile).is_file():
        raise ConfigError(
            f"There is no {ctx.inputs.dockerfile} in {folder}.",
            hint="Set image.context and image.dockerfile.",
        )
    return folder


def _reads(ctx: Context[Inputs]) -> Iterable[str]:
    folder = _context(ctx)
    for file in docker.context_files(folder, ctx.inputs.dockerfile):
        yield str(Path(ctx.inputs.context) / file)
    if ctx.inputs.wheels:
        yield ctx.inputs.wheels
        yield from pip.read_files(ctx.project, [ctx.project / ctx.inputs.wheels])


def _bring_wheels(ctx: Context[Inputs], into: Path) -> None:
    assert ctx.inputs.wheels is not None
    requirements = ctx.project / ctx.inputs.wheels
    if not requirements.is_file():
        raise ConfigError(f"image.wheels names {requirements}, which does not exist.")
    ctx.log(f"bringing the wheels of {ctx.inputs.wheels}")
    # the installer alone: in a file with hashes pip wants one for everything
    files: list[str | Path] = ["--requirement", requirements]
    for wanted in (files, [ctx.inputs.installer]):
        pip.download_wheels(
            sys.executable,
            wanted,
            into,
            ctx.config.artifactory,
            python_version=ctx.inputs.python,
            platform=docker.platforms(),
            log=ctx.log,
        )


def _model(ctx: Context[Inputs], wheels: Path) -> dict[str, str]:
    """Labels that say which wheel is the model; none when no package is named."""
    wanted = ctx.inputs.model
    if wanted is None:
        return {}
    if ctx.inputs.wheels is None:
        raise ConfigError(
            f"image.model is {wanted}, but no wheels are brought into the image.",
            hint="Set image.wheels to the requirements file that pins the model.",
        )
    there = {packages.wheel(file).name: file for file in wheels.glob("*.whl")}
    name = canonicalize_name(wanted)
    file = there.get(name)
    if file is None:
        raise ConfigError(
            f"image.model is {wanted}, which is not among the wheels of {ctx.inputs.wheels}.{nearest(name, there)}",
            hint="Name the package that the requirements pin.",
        )
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    return {MODEL: name, MODEL_VERSION: packages.wheel(file).version, MODEL_SHA256: sha256}


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    prefix = ctx.config.artifactory.docker
    if prefix is None:
        raise ConfigError(
            "artifactory.docker is not set: there is nowhere to push the image to.",
            hint="Set it in the platform file, such as artifactory.example.com/docker-local.",
        )
    folder = _context(ctx)
    engine = docker.Engine(ctx.config.docker, ctx.config.artifactory)
    repository = f"{prefix}/{ctx.config.name}"
    scratch = Path(tempfile.mkdtemp(prefix="pipeline-tools-"))
    try:
        files = [(file.as_posix(), folder / file) for file in docker.context_files(folder, ctx.inputs.dockerfile)]
        files = [(name, path) for name, path in files if not name.startswith(f"{WHEELS}/")]
        if ctx.inputs.wheels:
            _bring_wheels(ctx, scratch)
        # in a pod there is no repository to ask
        origin = commits.remote(ctx.project) if ctx.tracked is None else ""
        labels = {
            TITLE: ctx.config.name,
            VERSION: ctx.version,
            REVISION: ctx.commit,
            **({SOURCE: origin} if origin else {}),
            **_model(ctx, scratch),
        }
        if ctx.inputs.wheels:
            files += [(f"{WHEELS}/{wheel.name}", wheel) for wheel in scratch.iterdir()]
        image = engine.build(
            docker.pack(files),
            dockerfile=ctx.inputs.dockerfile,
            tag=f"{repository}:{ctx.version}",
            arguments={"VERSION": ctx.version, "REVISION": ctx.commit, **ctx.inputs.build_args},
            labels=labels,
            cache=ctx.inputs.cache,
            log=ctx.log,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    digest = engine.push(repository, ctx.version, log=ctx.log)
    return {
        "repository": repository,
        "tag": ctx.version,
        "digest": digest,
        "size_bytes": engine.size(image),
        "labels": labels,
    }


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    return from_config(ctx.config.artifactory).manifest_digest(outputs["repository"], outputs["digest"]) is not None


EXAMPLE = """\
name: my-service
image:
  dockerfile: Dockerfile
  build_args: {BASE_IMAGE: "python:3.11-slim"}
  wheels: requirements.txt
  model: my-model
"""

STEP = Step(
    name="image",
    summary="build the container image and push it to Artifactory",
    stage="Build",
    inputs=Inputs,
    jenkins="buildImage",
    outputs={
        "repository": "registry and name",
        "tag": "version and commit",
        "digest": "digest of the manifest: what is deployed",
        "size_bytes": "size, unpacked",
        "labels": "its labels: what it was built from",
    },
    example=EXAMPLE,
    requires=("artifactory.url", "artifactory.docker"),
    credentials=(ARTIFACTORY,),
    reads=_reads,
    systems=("artifactory",),
    needs=("test",),
    run=_run,
    still_there=_still_there,
)
