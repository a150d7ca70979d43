"""`verify`: proof from outside that what was deployed is what was built, and that it answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

import requests
from pydantic import Field

from pipeline_tools.errors import ConfigError, DeployError, InfrastructureError, PipelineError, QualityError
from pipeline_tools.ledger import write_json
from pipeline_tools.lineage.words import LINEAGE
from pipeline_tools.step import (
    ARTIFACTORY,
    KUBECONFIG,
    Context,
    Credential,
    Duration,
    Json,
    RunnerInputs,
    Step,
    Url,
    duration,
)
from pipeline_tools.steps.deploy import target
from pipeline_tools.systems.release import connect, has_image, selector, wanted_replicas

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Config

# One answer of the service, seconds.
CALL_TIMEOUT = 5.0


class Inputs(RunnerInputs):
    """What the running release must show."""

    url: Url | None = Field(None, description="Address of the service from outside; each environment has its own.")
    status_path: str = Field("/api/v1/status", description="Path that answers OK when the service serves.")
    model_path: str = Field("/api/v1/modelo?texto={text}", description="Path that classifies {text}.")
    golden: dict[str, str] = Field({}, description="Texts and the label that each must get.")
    lineage: bool = Field(
        True, description="Whether what runs is followed to what it was made from; a missing link is a warning."
    )
    timeout: Duration = Field(duration("1m"), description="How long the release may take to be as wanted and answer.")


def _check_pods(ctx: Context[Inputs], namespace: str, release: str) -> tuple[str, int]:
    """Problem (empty: none) and number of ready pods. What has ended, and what has another image, does not count."""
    kubernetes = connect(ctx.config.kubernetes)
    digest = ctx.outputs[f"deploy-{ctx.environment}"]["digest"]
    image = ctx.outputs["image"]["repository"], digest
    wanted = wanted_replicas(kubernetes, namespace, release, *image)
    pods = [
        pod
        for pod in kubernetes.pods(namespace, selector(release))
        if not pod.deleting and not pod.ended and has_image(pod.images, *image)
    ]
    others = [pod.name for pod in pods if digest not in {container.digest for container in pod.containers}]
    ready = [pod for pod in pods if pod.ready]
    if wanted == 0:
        return f"no Deployment of {release} in {namespace} wants pods with an image of {image[0]}", 0
    if others:
        return f"pods that do not run the built digest {digest}: {', '.join(others)}", len(ready)
    if len(ready) != wanted or len(pods) != wanted:
        return f"{len(ready)} of {wanted} wanted pods are ready, {len(pods)} exist", len(ready)
    return "", len(ready)


def _get(url: str) -> requests.Response:
    try:
        return requests.get(url, timeout=CALL_TIMEOUT)
    except requests.RequestException as error:
        raise InfrastructureError(
            f"{url} does not answer.",
            hint="Is verify.url of this environment the address at which the service is reached from here?",
            details=str(error),
        ) from error


def _look(ctx: Context[Inputs], namespace: str, release: str, base: str) -> int:
    """The number of ready pods.

    Raises:
        DeployError, InfrastructureError: it is not as wanted yet; behind an Ingress that takes longer than the pods.
    """
    problem, ready = _check_pods(ctx, namespace, release)
    if problem:
        raise DeployError(f"{namespace} is not as deployed: {problem}.", hint="Deploy again with --force.")
    status = _get(base + ctx.inputs.status_path)
    if status.status_code != requests.codes.ok or status.text.strip() != "OK":
        raise DeployError(
            f"{status.url} answered {status.status_code} {status.text.strip()[:100]!r} instead of OK.",
            hint="Set verify.status_path to a path that answers 200 with the text OK.",
        )
    return ready


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    if ctx.inputs.url is None:
        raise ConfigError(
            f"verify.url of {ctx.environment} is not set.",
            hint="Set environments.NAME.verify.url to the address of the service, its Ingress for instance.",
        )
    namespace, release = target(ctx)
    base = ctx.inputs.url.rstrip("/")
    end = time.monotonic() + ctx.inputs.timeout
    while True:
        try:
            ready = _look(ctx, namespace, release, base)
            break
        except (DeployError, InfrastructureError):
            if time.monotonic() > end:
                raise
        time.sleep(1)
    ctx.log(f"{ready} pods are ready, all with {ctx.outputs[f'deploy-{ctx.environment}']['digest']}")
    ctx.log(f"{base + ctx.inputs.status_path} says OK")
    wrong = []
    for text, label in ctx.inputs.golden.items():
        url = base + ctx.inputs.model_path.replace("{text}", quote(text))
        answer = _get(url)
        ctx.log(f"{text} → {answer.text.strip()[:100]}")
        if answer.status_code != requests.codes.ok or answer.text.strip() != label:
            wrong.append(f"{text!r} gave {answer.status_code} {answer.text.strip()[:100]!r}, not {label!r} ({url})")
    if wrong:
        raise QualityError(f"{len(wrong)} golden predictions are wrong in {namespace}.", details="\n".join(wrong))
    return {"url": base, "ready": ready, "golden": len(ctx.inputs.golden), **_follow(ctx)}


def _follow(ctx: Context[Inputs]) -> dict[str, str]:
    """What runs followed to its sources, for the report; whatever is wrong with that, the release is proven."""
    if not ctx.inputs.lineage:
        return {}
    # here, and not above: they import the steps' declarations through the configuration's schema
    from pipeline_tools.lineage.start import trace
    from pipeline_tools.lineage.world import Systems

    try:
        world = Systems(ctx.project, lambda _: ctx.config, ctx.environment)
        graph, start = trace(world, "pod", None)
    except PipelineError as error:
        ctx.log(f"warning: where the release came from cannot be told: {error.message}")
        return {}
    write_json(ctx.out / LINEAGE, {"start": start, "graph": graph.as_json()})
    for gap in graph.gaps:
        ctx.log(f"warning: {gap.says} {gap.hint}")
    return {"lineage": f"missing links: {len(graph.gaps)}" if graph.gaps else "whole"}


def _asks(config: Config) -> tuple[Credential, ...]:
    """Artifactory's only when what runs is followed into it."""
    follow = config.section("verify").lineage and config.artifactory.url is not None
    return (KUBECONFIG, ARTIFACTORY) if follow else (KUBECONFIG,)


EXAMPLE = """\
name: my-service
verify:
  golden: {"el enchufe echa chispas": electricidad}
environments:
  test:
    verify: {url: https://test.example.com}
  prod:
    verify: {url: https://example.com, timeout: 2m}
"""

STEP = Step(
    name="verify",
    summary="prove from outside that the release runs the built digest and answers rightly",
    stage="Deploy",
    inputs=Inputs,
    jenkins="verify",
    outputs={
        "url": "where the service answers",
        "ready": "number of ready pods",
        "golden": "number of predictions that were as wanted",
        "lineage": "whether what runs could be followed to what it was made from",
    },
    example=EXAMPLE,
    requires=("verify.url",),
    credentials=(KUBECONFIG, ARTIFACTORY),
    asks=_asks,
    reads=lambda _: (),
    systems=("kubernetes", "deploy", "artifactory", "image", "lineage"),
    needs=("image", "deploy"),
    uses=("image", "deploy"),
    per_environment=True,
    always=True,
    run=_run,
)
