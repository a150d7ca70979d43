"""Why a pod does not run or has failed, told apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.masking import mask
from pipeline_tools.systems.kubernetes import Container, Pod

Kind = Literal[
    "access",
    "image",
    "registry",
    "unschedulable",
    "evicted",
    "node",
    "deleted",
    "memory",
    "deadline",
    "start",
    "crash",
    "failed",
]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a pod does not run, or has failed.

    Attributes:
        kind: ``access``, ``image`` and ``registry`` are why an image is not pulled: the registry refuses the
            credentials, has no such image, or is not reached.
        transient: it may still come right by itself.
    """

    kind: Kind
    message: str
    transient: bool = False


_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
# What ends a pod because its node is no longer there, or gives up its pods.
_NODE = {"DeletionByTaintManager", "DeletionByPodGC"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def diagnose(pod: Pod) -> Trouble | None:
    """What is wrong with a pod, or None if nothing is (a container that ended with an exit code of its own is not)."""
    if pod.reason == "Evicted":
        return Trouble(kind="evicted", message=f"the node evicted it: {pod.message.rstrip(' .')}")
    reason, said = pod.disruption
    if reason in _NODE:
        return Trouble(
            kind="node", message=f"its node {pod.node} went away or was told to give up its pods: {said.rstrip(' .')}"
        )
    if reason:
        return Trouble(kind="evicted", message=f"it was evicted: {said.rstrip(' .')}")
    if pod.deleting:
        return Trouble(kind="deleted", message="someone deleted it")
    if pod.reason == "DeadlineExceeded":
        return Trouble(kind="deadline", message="it ran longer than it may")
    if pod.unschedulable:
        return Trouble(kind="unschedulable", message=f"no node takes it: {pod.unschedulable}", transient=True)
    for container in (*pod.init_containers, *pod.containers):
        about = f"container {container.name}"
        if container.reason in _IMAGE:
            return _pull_trouble(container)
        if container.reason in _CONFIG:
            # the Secret is made a moment after the pod: the node tries again
            return Trouble(kind="start", message=f"{about} cannot start: {container.message}", transient=True)
        if container.reason in ("StartError", "ContainerCannotRun"):
            return Trouble(kind="start", message=f"{about} cannot start: {container.message}")
        if "OOMKilled" in (container.reason, container.last_reason):
            return Trouble(kind="memory", message=f"{about} used more memory than its limit and was killed")
        if container.reason == "CrashLoopBackOff":
            code = container.exit_code
            return Trouble(kind="crash", message=f"{about} keeps ending with exit code {code}", transient=True)
    if pod.phase == "Failed" and not any(container.state == "terminated" for container in pod.containers):
        return Trouble(kind="failed", message=pod.message or pod.reason or "it failed before it started")
    return None


def _pull_trouble(container: Container) -> Trouble:
    said = container.message or container.reason
    message = f"{container.image} cannot be pulled: {said}"
    if re.search(r"unauthorized|authorization failed|403 forbidden|denied|no basic auth", said, re.IGNORECASE):
        return Trouble(kind="access", message=message)
    if re.search(r"not found|invalid", said, re.IGNORECASE):
        return Trouble(kind="image", message=message)
    # the node tries again after the first error; when it begins to back off it is time to say so
    return Trouble(kind="registry", message=message, transient=container.reason == "ErrImagePull")


class TookTooLong(InfrastructureError):
    """The pod ran longer than it may; another one would as well."""

    transient = False


_CLASSES: dict[Kind, type[PipelineError]] = {
    "access": CredentialError,
    "image": ConfigError,
    "start": ConfigError,
    "memory": ConfigError,
    "deadline": TookTooLong,
}
_HINTS: dict[Kind, str] = {
    "access": "Check the credentials of the registry, or the step's image_pull_secret.",
    "image": "Check the name and tag of the image.",
    "evicted": "Raise the step's memory_request, or the sizeLimit of its volume, if it is evicted each time.",
    "registry": "Can the cluster's nodes reach the registry?",
    "start": "Does the image have the program, and a shell and tar?",
    "memory": "Raise the step's memory.",
    "deadline": "Raise the step's timeout, or look in its log for what took so long.",
    "unschedulable": "Lower the step's cpu or memory_request, or give the cluster more room.",
}


def error_of(trouble: Trouble, pod: str) -> PipelineError:
    """The error to raise for a pod's trouble, with what to do next."""
    text = f"The pod {pod} did not do its work: {mask(trouble.message)}."
    hint = _HINTS.get(trouble.kind, "The pod's events and log may say more.")
    return _CLASSES.get(trouble.kind, InfrastructureError)(text, hint=hint)
