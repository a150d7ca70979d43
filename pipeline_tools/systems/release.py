"""What a release is in the cluster: its workloads and pods, and why they are not ready."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline_tools.config import schema
from pipeline_tools.errors import CredentialError
from pipeline_tools.systems.kubernetes import Kubernetes, Pod, images, parse_owner

EVENTS, LOG_LINES = 5, 15
# What helm writes on every object of a release.
RELEASE_NAME, RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


def connect(settings: schema.Kubernetes) -> Kubernetes:
    """The cluster that the configuration names."""
    kubeconfig = Path(settings.kubeconfig).expanduser() if settings.kubeconfig else None
    return Kubernetes(kubeconfig=kubeconfig, context=settings.context)


def release_of(cluster: Kubernetes, pod: Pod) -> tuple[tuple[str, str] | None, str]:
    """Namespace and name of the helm release that a pod belongs to, and where that was read, or looked for in vain.

    Helm annotates every object that it makes, whatever the chart; the pod's owners lead up to one of these.
    """
    looked, owner, namespace = [f"pod {pod.name}"], pod.owner, pod.namespace
    found: Mapping[str, Any] | None = {"annotations": pod.annotations}
    while found is not None:
        annotations = found.get("annotations") or {}
        if RELEASE_NAME in annotations:
            release = annotations.get(RELEASE_NAMESPACE, namespace), annotations[RELEASE_NAME]
            return release, f"annotation {RELEASE_NAME} of {looked[-1]}"
        if owner is None:
            break
        looked.append(f"{owner.kind} {owner.name}")
        found = cluster.metadata(namespace, owner)
        owner = parse_owner(found) if found is not None else None
    return None, ", ".join(looked)


def selector(release: str) -> str:
    """The labels that helm's charts put on everything of a release."""
    return f"app.kubernetes.io/instance={release}"


def has_image(references: Iterable[str], repository: str, digest: str) -> bool:
    """Whether one of these references is an image of ``repository``, or that very image under another name."""
    return any(
        re.fullmatch(rf"{re.escape(repository)}(:[^/@]+)?(@.+)?", reference) or reference.endswith(f"@{digest}")
        for reference in references
    )


def wanted_replicas(cluster: Kubernetes, namespace: str, release: str, repository: str, digest: str) -> int:
    """How many pods with the image (see `has_image`) the release's Deployments want.

    It is what the chart or an autoscaler says, and at least its minimum. What a subchart brings does not count.
    """
    from kubernetes import client

    apps = client.AppsV1Api(cluster.core.api_client)
    scaling = client.AutoscalingV2Api(cluster.core.api_client)
    labels = {"label_selector": selector(release)}
    deployments = cluster.call(f"list deployments in {namespace}", apps.list_namespaced_deployment, namespace, **labels)
    autoscalers = cluster.call(
        f"list autoscalers in {namespace}", scaling.list_namespaced_horizontal_pod_autoscaler, namespace, **labels
    )
    # right after an installation the autoscaler has not raised the Deployment to its minimum yet
    least = {
        item["spec"]["scaleTargetRef"]["name"]: int(item["spec"].get("minReplicas", 1)) for item in autoscalers["items"]
    }
    return sum(
        max(int(item["spec"].get("replicas", 1)), least.get(item["metadata"]["name"], 0))
        for item in deployments["items"]
        if has_image(images(item["spec"]["template"]["spec"]), repository, digest)
    )


def diagnose(cluster: Kubernetes, namespace: str, release: str) -> list[str]:
    """Why pods of a release are not ready: their state, warnings and last log lines, as lines for a person.

    Who may not read events or logs is told so, and sees the rest.
    """
    lines: list[str] = []
    found = cluster.pods(namespace, selector(release))
    pods = [pod for pod in found if not pod.ready and not pod.deleting and pod.phase != "Succeeded"]
    for pod in pods:
        lines.append(f"pod {pod.name}: {_state(pod)}")
        for read in (_warnings, _last_words):
            try:
                lines += read(cluster, pod)
            except CredentialError as error:
                lines.append(f"  {error.message}")
    if not pods:
        # no pod could be made at all: a quota, or the level of pod security, refuses them
        owners = cluster.call(f"list events in {namespace}", cluster.core.list_namespaced_event, namespace)
        for item in owners["items"]:
            if item.get("type") == "Warning" and str(item["involvedObject"].get("name", "")).startswith(release):
                lines.append(f"{item['involvedObject']['kind']}: {item.get('reason')}: {item.get('message')}")
    return lines


def _warnings(cluster: Kubernetes, pod: Pod) -> list[str]:
    warnings = [event for event in cluster.events(pod.namespace, pod.name) if event.kind == "Warning"]
    return [f"  {event.reason}: {event.message} (×{event.count})" for event in warnings[-EVENTS:]]


def _last_words(cluster: Kubernetes, pod: Pod) -> list[str]:
    lines = []
    for container in pod.containers:
        # a container that crashed and waits to be started again told its reason in its previous life
        log = cluster.log_tail(
            pod.namespace, pod.name, container=container.name, lines=LOG_LINES, previous=container.state == "waiting"
        )
        lines += [f"  {container.name} | {line}" for line in log.splitlines()]
    return lines


def _state(pod: Pod) -> str:
    if pod.unschedulable:
        return f"no node takes it: {pod.unschedulable}"
    parts = []
    for container in pod.containers:
        if container.ready:
            continue
        words = [container.name, container.state, container.reason, container.message]
        if container.restarts:
            words.append(f"restarted {container.restarts} times")
        if container.exit_code is not None:
            words.append(f"last exit code {container.exit_code} {container.last_reason}".strip())
        parts.append(", ".join(word for word in words if word))
    return "; ".join(parts) or pod.phase
