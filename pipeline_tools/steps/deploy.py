"""`deploy`: the published chart with the built digest into an environment's namespace; back to what ran if it fails."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from pipeline_tools import secrets
from pipeline_tools.errors import ConfigError, DeployError, InfrastructureError, PipelineError
from pipeline_tools.failures import explained, known
from pipeline_tools.ledger import read_json, write_json
from pipeline_tools.lineage.words import DEPLOYED
from pipeline_tools.process import ProcessFailed, ProcessTimeout
from pipeline_tools.step import ARTIFACTORY, KUBECONFIG, Context, Duration, Json, RunnerInputs, Step, duration
from pipeline_tools.systems import helm
from pipeline_tools.systems.kubernetes import Kubernetes
from pipeline_tools.systems.release import connect, diagnose

# In the step's folder: since when its helm is at work, and until when it was, if it could not put back what it began.
CUT_OFF = "cut-off.json"


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


def _unlock(ctx: Context[Inputs], release: str, namespace: str) -> list[helm.Release]:
    """The revisions of the release; one that a helm which is gone left pending is put back first.

    Raises:
        InfrastructureError: someone is deploying the release.
    """
    cluster = ctx.config.kubernetes
    history = helm.history(cluster, release, namespace)
    if not history or not history[-1].status.startswith("pending"):
        return history
    last = history[-1]
    if not _is_over(ctx, last):
        raise InfrastructureError(
            f"Someone is deploying {release} to {namespace}: its revision {last.revision} ({last.chart}) is "
            f"{last.status} since {last.updated:%Y-%m-%d %H:%M:%S %Z}.",
            hint="Run the same again when that is done. If its helm was killed, it is put back as soon as it is older "
            "than deploy.timeout and two minutes.",
        )
    ctx.log(f"an earlier deployment of {release} was cut off ({last.status}): putting it back")
    with _noted(ctx, release, namespace, datetime.now(UTC)):
        ctx.log(_put_back(ctx, release, namespace, history))
    return helm.history(cluster, release, namespace)


def _is_over(ctx: Context[Inputs], pending: helm.Release) -> bool:
    """Whether no helm works on a pending revision any more: one of ours that has ended, or it is too old."""
    for file in ctx.out.parents[2].glob(f"*/steps/{ctx.out.name}/{CUT_OFF}"):
        note = read_json(file) or {}
        if (note.get("release"), note.get("namespace")) != (pending.name, pending.namespace):
            continue
        begun = datetime.fromisoformat(note["from"])
        # without an end its process was killed, and helm with it: it would have begun by then, and no other runs now
        end = datetime.fromisoformat(note["to"]) if "to" in note else begun + timedelta(seconds=helm.TIMEOUT)
        if begun <= pending.updated <= end:
            return True
    return datetime.now(UTC) - pending.updated > timedelta(seconds=ctx.inputs.timeout + helm.TIMEOUT)


@contextmanager
def _noted(ctx: Context[Inputs], release: str, namespace: str, begun: datetime) -> Iterator[None]:
    """Unless this block ends well, the next deployment knows that what helm left pending since ``begun`` is over."""
    note = {"release": release, "namespace": namespace, "from": begun.isoformat()}
    write_json(ctx.out / CUT_OFF, note)
    try:
        yield
    except BaseException:
        write_json(ctx.out / CUT_OFF, {**note, "to": datetime.now(UTC).isoformat()})
        raise
    (ctx.out / CUT_OFF).unlink()


def _made(ctx: Context[Inputs], release: str, namespace: str, before: Sequence[helm.Release], begun: datetime) -> bool:
    """Whether the release has a revision that was made since ``begun``, when it had those of ``before``."""
    history = helm.history(ctx.config.kubernetes, release, namespace)
    last = before[-1].revision if before else 0
    return bool(history) and history[-1].revision > last and history[-1].updated >= begun


def _put_back(ctx: Context[Inputs], release: str, namespace: str, history: Sequence[helm.Release]) -> str:
    """Go back to the last of these revisions that ran, or else the last that failed; returns what runs now, in words.

    What was there before us is never removed.
    """
    ran = [entry.revision for entry in history if entry.status in ("deployed", "superseded")]
    failed = [entry.revision for entry in history if not entry.status.startswith("pending")]
    if not ran and not failed:
        helm.uninstall(ctx.config.kubernetes, release, namespace, log=ctx.log)
        return f"nothing of {release} runs in {namespace}: this was its first deployment, and it was removed"
    revision = max(ran or failed)
    helm.rollback(ctx.config.kubernetes, release, namespace, revision, log=ctx.log)
    return f"{namespace} was put back to revision {revision} of {release}"


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    namespace, release = target(ctx)
    files = _files(ctx)
    artifactory = ctx.config.artifactory
    kubernetes = connect(ctx.config.kubernetes)
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
        before = _unlock(ctx, release, namespace)  # as late as can be: what someone deploys meanwhile is part of it
        begun = datetime.now(UTC)
        try:
            try:
                with _noted(ctx, release, namespace, begun):
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
                raise _explained(ctx, kubernetes, error, namespace, release, before, begun) from error
        except KeyboardInterrupt:
            with suppress(PipelineError), _noted(ctx, release, namespace, begun):
                if _made(ctx, release, namespace, before, begun):
                    ctx.log("interrupted: putting the release back")
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
    before: Sequence[helm.Release],
    begun: datetime,
) -> PipelineError:
    """Why the release did not come up, from helm and its pods, and what runs now: what helm did is put back."""
    said = error.details or error.message
    if re.search(helm.TAKEN, said):
        (ctx.out / CUT_OFF).unlink()  # what is pending is not ours
        return InfrastructureError(
            f"Someone else is deploying {release} to {namespace}; nothing was changed there.",
            hint="Run the same again when that is done.",
            details=said,
        )
    try:
        with _noted(ctx, release, namespace, begun):
            if not _made(ctx, release, namespace, before, begun):
                message = f"helm did not deploy {release} to {namespace}; nothing was changed there."
                return explained("helm", said, message, otherwise=DeployError)
            why = _why(kubernetes, namespace, release)
            now = _put_back(ctx, release, namespace, before)
    except PipelineError as gone:
        refused = known("helm", gone.details)
        if refused and not issubclass(refused.error, InfrastructureError):
            return refused.error(
                f"{release} failed in {namespace} and could not be put back; what runs there is unknown.",
                hint=refused.hint,
                details=f"{said}\n{gone.message}\n{gone.details}",
            )
        return InfrastructureError(
            f"The cluster stopped answering while {release} was deployed to {namespace}; what runs there is unknown.",
            hint="When it answers again, run the same again: an unfinished release is put back first.",
            details=f"{said}\n{gone.message}\n{gone.details}".strip(),
        )
    for line in why:
        ctx.log(line)
    details = "\n".join([said, *why])
    reason = known("helm", said)
    if reason and not issubclass(reason.error, DeployError):
        return reason.error(
            f"helm could not deploy {release} to {namespace}; {now}.", hint=reason.hint, details=details
        )
    return DeployError(
        f"{release} did not become ready in {namespace}; {now}.",
        hint="The pods' events and last log lines are above and in the step's log.",
        details=details,
    )


def _why(kubernetes: Kubernetes, namespace: str, release: str) -> list[str]:
    """What the pods tell; that they cannot be asked is no reason to leave a broken release."""
    try:
        return diagnose(kubernetes, namespace, release)
    except PipelineError as error:
        return [f"The pods could not be looked at: {error.message}"]


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
