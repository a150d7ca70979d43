"""`deploy`: the published chart with the built digest into an environment's namespace; back to what ran if it fails."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from pipeline_tools import secrets
from pipeline_tools.errors import ConfigError, DeployError, InfrastructureError, PipelineError
from pipeline_tools.lineage.words import DEPLOYED
from pipeline_tools.process import ProcessFailed, ProcessTimeout
from pipeline_tools.step import ARTIFACTORY, KUBECONFIG, Context, Duration, Json, RunnerInputs, Step, duration
from pipeline_tools.systems import helm
from pipeline_tools.systems.kubernetes import Kubernetes
from pipeline_tools.systems.release import connect, diagnose


class Inputs(RunnerInputs):
    """What is deployed where."""

    namespace: str | None = Field(None, description="Namespace; null: the environment's name. It must exist.")
    release: str | None = Field(None, description="Release; null: the project's name.")
    values: list[str] = Field([], description="Values files, relative to the project; later ones win.")
    overlays: list[str] = Field(
        [], description="Values files of the platform, after the project's: sizes for a small cluster, say."
    )
    annotations: str | None = Field(
        "podAnnotations",
        description="Value of the chart that becomes annotations of the pods, where what the image was built from is "
        "repeated; null: the chart has none.",
    )
    settings: dict[str, str] = Field({}, description="Single values, as helm's --set.")
    timeout: Duration = Field(duration("5m"), description="How long the release may take to be ready.")


def target(ctx: Context[Any]) -> tuple[str, str]:
    """Namespace and release of the environment."""
    deploy = ctx.config.section("deploy")
    return deploy.namespace or str(ctx.environment), deploy.release or ctx.config.name


def _reads(ctx: Context[Inputs]) -> Iterable[str]:
    return ctx.inputs.values


def _files(ctx: Context[Inputs]) -> list[Path]:
    files = [ctx.project / name for name in (*ctx.inputs.values, *ctx.inputs.overlays)]
    for file in files:
        if not file.is_file():
            raise ConfigError(f"The values file {file} of {ctx.environment} does not exist.")
    return files


def _lineage(ctx: Context[Inputs], scratch: Path) -> list[Path]:
    """A values file with what the image was built from, for the pods' annotations.

    It is a file, and not settings, so that it adds to the annotations that the other values files have.
    """
    if ctx.inputs.annotations is None:
        return []
    values: Json = ctx.outputs["image"]["labels"]
    for name in reversed(ctx.inputs.annotations.split(".")):
        values = {name: values}
    file = scratch / "lineage.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    return [file]


def _settings(ctx: Context[Inputs], pull_secret: str) -> list[str]:
    image = ctx.outputs["image"]
    pairs = {
        "image.repository": image["repository"],
        "image.digest": image["digest"],
        "image.version": image["tag"],
        "imagePullSecrets[0].name": pull_secret,
    }
    ours = [word for key, value in pairs.items() for word in ("--set-string", f"{key}={value}")]
    return ours + [word for key, value in ctx.inputs.settings.items() for word in ("--set", f"{key}={value}")]


def _unlock(ctx: Context[Inputs], release: str, namespace: str) -> int | None:
    """The revision that runs, or None; a release that a killed helm left pending is put back to it first."""
    cluster = ctx.config.kubernetes
    history = helm.history(cluster, release, namespace)
    deployed = max((entry.revision for entry in history if entry.status in ("deployed", "superseded")), default=None)
    if history and history[-1].status.startswith("pending"):
        ctx.log(f"an earlier deployment of {release} was cut off ({history[-1].status}): putting it back")
        _put_back(ctx, release, namespace, deployed)
    return deployed


def _put_back(ctx: Context[Inputs], release: str, namespace: str, revision: int | None) -> str:
    """Undo a deployment; returns what runs now, in words."""
    if revision is None:
        helm.uninstall(ctx.config.kubernetes, release, namespace, log=ctx.log)
        return f"nothing of {release} runs in {namespace}: this was its first deployment, and it was removed"
    helm.rollback(ctx.config.kubernetes, release, namespace, revision, log=ctx.log)
    return f"{namespace} was put back to revision {revision} of {release}"


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    namespace, release = target(ctx)
    files = _files(ctx)
    artifactory = ctx.config.artifactory
    kubernetes = connect(ctx.config.kubernetes)
    before = _unlock(ctx, release, namespace)
    pull_secret = f"{release}-pull"
    kubernetes.ensure_pull_secret(
        namespace,
        pull_secret,
        str(artifactory.docker).partition("/")[0],
        secrets.resolve(artifactory.username, masked=False),
        secrets.resolve(artifactory.password),
    )
    published = ctx.outputs["chart"]
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
        chart = helm.pull(published["name"], published["version"], artifactory, Path(scratch), log=ctx.log)
        try:
            helm.upgrade(
                ctx.config.kubernetes,
                release=release,
                chart=chart,
                namespace=namespace,
                values=[*files, *_lineage(ctx, Path(scratch))],
                settings=_settings(ctx, pull_secret),
                description=DEPLOYED.format(run=ctx.run_id, project=ctx.config.name, version=ctx.version),
                timeout=ctx.inputs.timeout,
                log=ctx.log,
            )
        except (ProcessFailed, ProcessTimeout) as error:
            raise _explained(ctx, kubernetes, error, namespace, release, before) from error
        except KeyboardInterrupt:
            ctx.log("interrupted: putting the release back")
            with suppress(PipelineError):
                ctx.log(_put_back(ctx, release, namespace, before))
            raise
    now = helm.history(ctx.config.kubernetes, release, namespace)[-1]
    return {
        "release": release,
        "namespace": namespace,
        "revision": now.revision,
        "chart": now.chart,
        "digest": ctx.outputs["image"]["digest"],
    }


def _explained(
    ctx: Context[Inputs],
    kubernetes: Kubernetes,
    error: ProcessFailed | ProcessTimeout,
    namespace: str,
    release: str,
    before: int | None,
) -> PipelineError:
    """Why the release did not come up, from its pods, and what runs now."""
    try:
        why = diagnose(kubernetes, namespace, release)
        now = _put_back(ctx, release, namespace, before)
    except PipelineError as gone:
        return InfrastructureError(
            f"The cluster stopped answering while {release} was deployed to {namespace}; what runs there is unknown.",
            hint="When it answers again, run the same again: an unfinished release is put back first.",
            details=f"{error.details}\n{gone.message}",
        )
    for line in why:
        ctx.log(line)
    return DeployError(
        f"{release} did not become ready in {namespace}; {now}.",
        hint="The pods' events and last log lines are above and in the step's log.",
        details="\n".join([error.details or error.message, *why]),
    )


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    history = helm.history(ctx.config.kubernetes, outputs["release"], outputs["namespace"])
    return bool(history) and history[-1].status == "deployed" and history[-1].revision == outputs["revision"]


EXAMPLE = """\
name: my-service
deploy:
  timeout: 10m
environments:
  test:
    deploy: {values: [chart/values-test.yaml]}
  prod:
    approval: true
    deploy: {values: [chart/values-prod.yaml], namespace: production}
    kubernetes: {context: production-cluster}
"""

STEP = Step(
    name="deploy",
    summary="install or upgrade the release with helm and wait until it is ready",
    stage="Deploy",
    inputs=Inputs,
    jenkins="deploy",
    releases=True,
    outputs={
        "release": "name of the release",
        "namespace": "where it runs",
        "revision": "revision of the release",
        "chart": "chart and version",
        "digest": "digest of the image",
    },
    example=EXAMPLE,
    requires=("artifactory.docker", "artifactory.helm"),
    credentials=(ARTIFACTORY, KUBECONFIG),
    reads=_reads,
    systems=("artifactory", "kubernetes"),
    tools=("helm",),
    memory=128 * 2**20,
    needs=("scan", "image", "chart"),
    uses=("image", "chart"),
    per_environment=True,
    run=_run,
    still_there=_still_there,
)
