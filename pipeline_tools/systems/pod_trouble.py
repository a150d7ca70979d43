"""Why a pod does not run or has failed, told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.masking import mask
from pipeline_tools.systems.kubernetes import Pod


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why a pod does not run, or has failed; ``transient``: it may still come right by itself."""

    kind: Literal["image", "unschedulable", "evicted", "memory", "deadline", "config", "crash", "failed"]
    message: str
    transient: bool = False


_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}


def diagnose(pod: Pod) -> Trouble | None:
    """What is wrong with a pod, or None if nothing is (a container that ended with an exit code of its own is not)."""
    if pod.reason == "Evicted":
        return Trouble(kind="evicted", message=f"the node evicted it: {pod.message}")
    if pod.reason == "DeadlineExceeded":
        return Trouble(kind="deadline", message="it ran longer than it may")
    if pod.unschedulable:
        return Trouble(kind="unschedulable", message=f"no node takes it: {pod.unschedulable}", transient=True)
    for container in (*pod.init_containers, *pod.containers):
        about = f"container {container.name}"
        if container.reason in _IMAGE:
            # the node tries again after the first error; when it begins to back off it is time to say so
            transient = container.reason == "ErrImagePull"
            said = container.message or container.reason
            return Trouble(kind="image", message=f"{container.image} cannot be pulled: {said}", transient=transient)
        if container.reason in _CONFIG:
            # the Secret is made a moment after the pod: the node tries again
            return Trouble(kind="config", message=f"{about} cannot start: {container.message}", transient=True)
        if container.reason in ("StartError", "ContainerCannotRun"):
            return Trouble(kind="config", message=f"{about} cannot start: {container.message}")
        if "OOMKilled" in (container.reason, container.last_reason):
            return Trouble(kind="memory", message=f"{about} used more memory than its limit and was killed")
        if container.reason == "CrashLoopBackOff":
            code = container.exit_code
            return Trouble(kind="crash", message=f"{about} keeps ending with exit code {code}", transient=True)
    if pod.phase == "Failed" and not any(container.state == "terminated" for container in pod.containers):
        return Trouble(kind="failed", message=pod.message or pod.reason or "it failed before it started")
    return None


def error_of(trouble: Trouble, pod: str) -> PipelineError:
    """The error to raise for a pod's trouble, with what to do next."""
    text = f"The pod {pod} did not do its work: {mask(trouble.message)}."
    if trouble.kind == "image":
        said = trouble.message.lower()
        if any(word in said for word in ("unauthorized", "401", "403", "denied", "no basic auth")):
            return CredentialError(text, hint="Check the credentials of the registry, or the step's image_pull_secret.")
        if "not found" in said or "invalid" in said:
            return ConfigError(text, hint="Check the name and tag of the image.")
        return InfrastructureError(text, hint="Can the cluster's nodes reach the registry?")
    if trouble.kind == "config":
        return ConfigError(text, hint="Does the image have the program, and a shell and tar?")
    if trouble.kind == "memory":
        return ConfigError(text, hint="Raise the step's memory.")
    if trouble.kind == "deadline":
        return InfrastructureError(text, hint="Raise the step's timeout, or look in its log for what took so long.")
    if trouble.kind == "unschedulable":
        return InfrastructureError(text, hint="Lower the step's cpu or memory_request, or give the cluster more room.")
    return InfrastructureError(text, hint="The pod's events and log, above, may say more.")
