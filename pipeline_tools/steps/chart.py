"""`chart`: lint the chart with every environment's values, package it and push it to Artifactory."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from pydantic import Field

from pipeline_tools.errors import ConfigError
from pipeline_tools.step import ARTIFACTORY, Context, Json, RunnerInputs, Step
from pipeline_tools.systems import git, helm
from pipeline_tools.systems.artifactory import from_config


class Inputs(RunnerInputs):
    """Which chart is published."""

    path: str = Field("chart", description="Folder of the chart.")
    lint_settings: list[str] = Field(
        ["image.repository=lint.invalid/lint", f"image.digest=sha256:{'0' * 64}"],
        description="key=value pairs with which the chart is linted: what a deployment sets.",
    )


def _reads(ctx: Context[Inputs]) -> Iterable[str]:
    return (ctx.inputs.path,)


def _named(ctx: Context[Inputs], folder: Path) -> tuple[str, str]:
    """The chart's name, and its version: its own and a hash of its content, so that another chart has another one."""
    try:
        described = yaml.safe_load((folder / "Chart.yaml").read_text(encoding="utf-8"))
        name, base = str(described["name"]), str(described["version"])
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{folder / 'Chart.yaml'} is missing, or has no name or no version.",
            hint="Set chart.path to the chart's folder.",
        ) from error
    total = hashlib.sha256()
    for file in git.files(ctx.project, ctx.inputs.path, untracked=True):
        content = (ctx.project / file).read_bytes()
        total.update(f"{(ctx.project / file).resolve().relative_to(folder)}\0{len(content)}\0".encode() + content)
    return name, f"{base}-c{total.hexdigest()[:12]}"


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    repository = ctx.config.artifactory.helm
    if repository is None:
        raise ConfigError(
            "artifactory.helm is not set: there is nowhere to push the chart to.",
            hint="Set it in the platform file, such as oci://artifactory.example.com/helm-local.",
        )
    folder = (ctx.project / ctx.inputs.path).resolve()
    name, version = _named(ctx, folder)
    settings = [word for pair in ctx.inputs.lint_settings for word in ("--set", pair)]
    helm.lint(folder, [], log=ctx.log, settings=settings)
    for values in sorted(folder.glob("values-*.yaml")):
        helm.lint(folder, [values], log=ctx.log, settings=settings)
    # helm writes the time into what it packages: published again, the chart of another run would have another digest
    digest = _published(ctx, repository, name, version)
    if digest:
        ctx.log(f"{name} {version} is in {repository} already")
    else:
        with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
            archive = helm.package(folder, version=version, into=Path(scratch), log=ctx.log)
            digest = helm.push(archive, ctx.config.artifactory, log=ctx.log)
    return {"repository": repository, "name": name, "version": version, "digest": digest}


def _published(ctx: Context[Inputs], repository: str, name: str, version: str) -> str | None:
    """Digest of the chart's manifest in the repository; None when it is not there."""
    image = f"{repository.removeprefix('oci://')}/{name}"
    return from_config(ctx.config.artifactory).manifest_digest(image, version)


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    published = _published(ctx, *(str(outputs[key]) for key in ("repository", "name", "version")))
    return published == str(outputs["digest"])


EXAMPLE = """\
name: my-service
chart:
  path: deploy/chart
"""

STEP = Step(
    name="chart",
    summary="lint, package and publish the helm chart",
    stage="Build",
    inputs=Inputs,
    jenkins="publishChart",
    outputs={
        "repository": "OCI repository",
        "name": "name of the chart",
        "version": "version, with a hash of the content",
        "digest": "digest of the chart's manifest",
    },
    example=EXAMPLE,
    requires=("artifactory.url", "artifactory.helm"),
    credentials=(ARTIFACTORY,),
    reads=_reads,
    systems=("artifactory",),
    tools=("helm",),
    memory=64 * 2**20,
    needs=("test",),
    run=_run,
    still_there=_still_there,
)
