"""Kubernetes through its official client: what the steps need of it, typed, with errors that a user can act on.

The client's own models are not used for answers: they refuse an object that lacks a field which their version of the
API demands, and a cluster is seldom of the client's version. Answers are read as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.masking import mask

# Seconds to connect, and to wait for an answer.
TIMEOUT = (5.0, 30.0)
# What makes pods: the client's class and function that read it.
WORKLOADS = {
    "ReplicaSet": ("AppsV1Api", "read_namespaced_replica_set"),
    "Deployment": ("AppsV1Api", "read_namespaced_deployment"),
    "StatefulSet": ("AppsV1Api", "read_namespaced_stateful_set"),
    "DaemonSet": ("AppsV1Api", "read_namespaced_daemon_set"),
    "Job": ("BatchV1Api", "read_namespaced_job"),
    "CronJob": ("BatchV1Api", "read_namespaced_cron_job"),
}
MANAGED_BY = {"app.kubernetes.io/managed-by": "pipeline-tools"}


class NotFound(ConfigError):
    """The object, or its namespace, does not exist."""


class Conflict(InfrastructureError):
    """An object of this name exists already."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container of a pod.

    Attributes:
        repository: ``HOST/REPOSITORY/NAME`` that the running image was pulled from; empty before.
        digest: ``sha256:…`` of the running image; empty before it was pulled.
        state: ``waiting``, ``running`` or ``terminated``; empty before the node has seen it.
        reason: why it waits or ended (``ImagePullBackOff``, ``OOMKilled``).
        last_reason: why it ended before it was started again.
        exit_code: of its end, or of its last end; None if it never ended.
    """

    name: str
    image: str
    repository: str
    digest: str
    ready: bool
    restarts: int
    state: str
    reason: str
    message: str
    exit_code: int | None
    last_reason: str


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Who made an object: the entry of its ``ownerReferences`` that controls it."""

    kind: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod as the API server knows it.

    Attributes:
        images: what its containers name, whether or not they were pulled.
        unschedulable: the scheduler's reason, or empty.
        disruption: why the cluster ends it (``EvictionByEvictionAPI``, ``DeletionByTaintManager``), and in which words;
            empty if it does not.
    """

    name: str
    namespace: str
    uid: str
    owner: Owner | None
    phase: str
    reason: str
    message: str
    node: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    images: tuple[str, ...]
    ready: bool
    deleting: bool
    unschedulable: str
    disruption: tuple[str, str]
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, good or bad."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to an object; ``kind`` is Normal or Warning, ``time`` is ISO 8601."""

    kind: str
    reason: str
    message: str
    count: int
    time: str


def parse_container(data: Mapping[str, Any]) -> Container:
    """A container from an entry of ``status.containerStatuses``."""
    states: dict[str, dict[str, Any]] = data.get("state") or {}
    state = next(iter(states), "")
    about = states.get(state, {})
    last = (data.get("lastState") or {}).get("terminated") or {}
    repository, _, digest = (data.get("imageID") or "").rpartition("@")
    return Container(
        name=data["name"],
        image=data.get("image", ""),
        repository=repository.rpartition("://")[2],
        digest=digest if digest.startswith("sha256:") else "",
        ready=bool(data.get("ready")),
        restarts=int(data.get("restartCount", 0)),
        state=state,
        reason=about.get("reason") or "",
        message=about.get("message") or "",
        exit_code=about.get("exitCode", last.get("exitCode")),
        last_reason=last.get("reason") or "",
    )


def parse_owner(metadata: Mapping[str, Any]) -> Owner | None:
    """Who controls the object with this metadata; None when nobody does."""
    for entry in metadata.get("ownerReferences") or ():
        if entry.get("controller"):
            return Owner(kind=entry["kind"], name=entry["name"])
    return None


def images(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The images that the containers of a pod's specification name."""
    return tuple(container["image"] for container in spec.get("containers") or () if container.get("image"))


def parse_pod(data: Mapping[str, Any]) -> Pod:
    """A pod from its JSON."""
    about, status = data["metadata"], data.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    disrupted = conditions.get("DisruptionTarget", {})
    waits = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return Pod(
        name=about["name"],
        namespace=about.get("namespace", ""),
        uid=about.get("uid", ""),
        owner=parse_owner(about),
        phase=status.get("phase", ""),
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        node=(data.get("spec") or {}).get("nodeName") or "",
        labels=about.get("labels") or {},
        annotations=about.get("annotations") or {},
        images=images(data.get("spec") or {}),
        ready=conditions.get("Ready", {}).get("status") == "True",
        deleting="deletionTimestamp" in about,
        unschedulable=(scheduled.get("message") or "no node has room") if waits else "",
        disruption=(disrupted.get("reason") or "", disrupted.get("message") or "")
        if disrupted.get("status") == "True"
        else ("", ""),
        init_containers=tuple(map(parse_container, status.get("initContainerStatuses") or ())),
        containers=tuple(map(parse_container, status.get("containerStatuses") or ())),
    )


def docker_config(registry: str, username: str, password: str) -> str:
    """The content of ``.dockerconfigjson`` for one registry (host and port)."""
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"username": username, "password": password, "auth": auth}}})


class Kubernetes:
    """A cluster.

    Args:
        kubeconfig: path of the kubeconfig (``~`` is expanded); None: KUBECONFIG, ~/.kube/config, or, inside of a pod
            without either, the pod's service account.
        context: the context in it; None: the current one.

    Raises:
        ConfigError: there is no such kubeconfig or context. No connection is made yet.

    Every method raises `CredentialError` when the cluster refuses who we are or what we want, `NotFound` when there is
    no such object or namespace, and `InfrastructureError` when the API server cannot be reached or fails.
    """

    def __init__(self, *, kubeconfig: str | Path | None = None, context: str | None = None) -> None:
        self._client = _connect(Path(kubeconfig).expanduser() if kubeconfig else None, context)
        self.address: str = self._client.configuration.host
        # connections are kept for the next call; they go with us
        weakref.finalize(self, self._client.close)

    @cached_property
    def core(self) -> Any:
        """The client's ``CoreV1Api``."""
        from kubernetes import client

        return client.CoreV1Api(self._client)

    @cached_property
    def exec_core(self) -> Any:
        """A ``CoreV1Api`` for ``stream()`` alone, which swaps functions of the ApiClient that it is given."""
        from kubernetes import client

        return client.CoreV1Api(client.ApiClient(self._client.configuration))

    def check(self) -> str:
        """The server's version, such as ``v1.34.4``; proves that it can be reached."""
        from kubernetes import client

        about = self.call("read the server's version", client.VersionApi(self._client).get_code)
        return str(about["gitVersion"])

    def pod(self, namespace: str, name: str) -> Pod:
        """One pod."""
        return parse_pod(self.call(f"read pod {namespace}/{name}", self.core.read_namespaced_pod, name, namespace))

    def metadata(self, namespace: str, owner: Owner) -> Mapping[str, Any] | None:
        """The metadata of a workload; None for a kind that is not Kubernetes' own."""
        from kubernetes import client

        if owner.kind not in WORKLOADS:
            return None
        api, function = WORKLOADS[owner.kind]
        read = getattr(getattr(client, api)(self._client), function)
        found: Mapping[str, Any] = self.call(
            f"read {owner.kind} {namespace}/{owner.name}", read, owner.name, namespace
        )["metadata"]
        return found

    def pods(self, namespace: str, selector: str = "") -> list[Pod]:
        """The pods with these labels (``app=web,tier!=cache``), by name."""
        found = self.call(
            f"list pods in {namespace}", self.core.list_namespaced_pod, namespace, label_selector=selector
        )
        return sorted(map(parse_pod, found["items"]), key=lambda pod: pod.name)

    def events(self, namespace: str, name: str) -> list[Event]:
        """What happened to the object of this name, oldest first."""
        found = self.call(
            f"list events in {namespace}",
            self.core.list_namespaced_event,
            namespace,
            field_selector=f"involvedObject.name={name}",
        )
        events = [
            Event(
                kind=item.get("type") or "",
                reason=item.get("reason") or "",
                message=mask(item.get("message") or ""),
                count=int(item.get("count") or 1),
                time=item.get("lastTimestamp") or item.get("eventTime") or item["metadata"]["creationTimestamp"],
            )
            for item in found["items"]
        ]
        return sorted(events, key=lambda event: event.time)

    def log_tail(
        self, namespace: str, pod: str, *, container: str | None = None, lines: int = 20, previous: bool = False
    ) -> str:
        """The last lines of a container's log, masked; empty if there is none (yet) or it cannot be had."""
        options: dict[str, Any] = {"tail_lines": lines, "previous": previous}
        if container:
            options["container"] = container
        try:
            text = self._raw(f"read the log of {pod}", self.core.read_namespaced_pod_log, pod, namespace, **options)
        except (ConfigError, InfrastructureError):  # it is read to explain a failure: it must not become another one
            return ""
        return mask(text.decode(errors="replace"))

    def read_secret(self, namespace: str, name: str, key: str) -> str:
        """The value of one key of a Secret.

        Raises:
            CredentialError: there is no such Secret or key in it.
        """
        try:
            secret = self.call(f"read secret {namespace}/{name}", self.core.read_namespaced_secret, name, namespace)
        except NotFound as error:
            raise CredentialError(f"There is no Secret {name} in namespace {namespace}.") from error
        data = secret.get("data") or {}
        if key not in data:
            raise CredentialError(
                f"The Secret {namespace}/{name} has no key {key}.", hint=f"It has: {', '.join(sorted(data)) or 'none'}."
            )
        try:
            return base64.b64decode(data[key]).decode()
        except UnicodeDecodeError:
            raise CredentialError(
                f"The key {key} of the Secret {namespace}/{name} is not UTF-8 text.", hint="Save it as UTF-8."
            ) from None

    def apply_secret(self, namespace: str, name: str, kind: str, data: Mapping[str, str]) -> None:
        """Create the Secret, or replace the one of this name; ``kind`` is its type, ``data`` texts by key."""
        body = secret_body(name, kind, data)
        try:
            self.call(f"replace secret {namespace}/{name}", self.core.replace_namespaced_secret, name, namespace, body)
        except NotFound:
            self.create_secret(namespace, body)

    def create_secret(self, namespace: str, body: Mapping[str, Any]) -> None:
        """Create a Secret from its manifest."""
        name = body["metadata"]["name"]
        self.call(f"create secret {namespace}/{name}", self.core.create_namespaced_secret, namespace, body)

    def ensure_pull_secret(self, namespace: str, name: str, registry: str, username: str, password: str) -> None:
        """Make the Secret ``name`` hold the credentials of one image registry (``HOST:PORT``)."""
        data = {".dockerconfigjson": docker_config(registry, username, password)}
        self.apply_secret(namespace, name, "kubernetes.io/dockerconfigjson", data)

    def call(self, what: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function of the client's API; the answer is the object's JSON. ``what`` completes "Could not …"."""
        return json.loads(self._raw(what, function, *args, **options))

    def _raw(self, what: str, function: Callable[..., Any], *args: Any, **options: Any) -> bytes:
        with self.errors(what):
            response = function(*args, _preload_content=False, **{"_request_timeout": TIMEOUT, **options})
            body: bytes = response.read()
            response.release_conn()
            return body

    def errors(self, what: str) -> _Errors:
        """A context that turns the client's errors into ours; ``what`` completes "Could not …"."""
        return _Errors(self.address, what)


def secret_body(name: str, kind: str, data: Mapping[str, str], **metadata: Any) -> dict[str, Any]:
    """The manifest of a Secret of ours; ``metadata`` adds to its metadata."""
    labels = {**MANAGED_BY, **metadata.pop("labels", {})}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels, **metadata},
        "type": kind,
        "stringData": dict(data),
    }


def _connect(kubeconfig: Path | None, context: str | None) -> Any:
    import urllib3
    from kubernetes import client, config

    configuration = client.Configuration()
    load: Any = config  # its functions have no types
    # a refused or reset connection is tried again; an answer, whatever it is, is not
    configuration.retries = urllib3.Retry(total=3, backoff_factor=0.2, status=0)
    if kubeconfig is not None and not kubeconfig.is_file():
        raise ConfigError(f"There is no kubeconfig {kubeconfig}.", hint="Correct kubernetes.kubeconfig.")
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and not os.environ.get("KUBECONFIG")
    try:
        if kubeconfig is None and context is None and in_pod and not Path("~/.kube/config").expanduser().is_file():
            load.load_incluster_config(client_configuration=configuration)
        else:
            load.load_kube_config(
                config_file=str(kubeconfig) if kubeconfig else None,
                context=context,
                client_configuration=configuration,
            )
    except config.ConfigException as error:
        where = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
        raise ConfigError(
            f"The kubeconfig {where} cannot be used: {error}",
            hint="Set kubernetes.kubeconfig and kubernetes.context, or the variable KUBECONFIG.",
        ) from error
    return client.ApiClient(configuration)


class _Errors:
    def __init__(self, address: str, what: str) -> None:
        self.address = address
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        import urllib3
        from kubernetes import client

        if isinstance(error, client.ApiException):
            if isinstance(error.__context__, KeyboardInterrupt):  # stream() wraps whatever happens in it
                raise error.__context__
            raise self.explain(error.status or 0, error.body or str(error.reason)) from error
        if isinstance(error, (urllib3.exceptions.HTTPError, OSError)):
            raise self.unreachable(str(error)) from error

    def unreachable(self, details: str) -> InfrastructureError:
        return InfrastructureError(
            f"Could not {self.what}: the cluster at {self.address} does not answer.",
            hint="Is it running (`kubectl cluster-info`)? Is kubernetes.context the right one?",
            details=mask(details),
        )

    def explain(self, status: int, body: str) -> PipelineError:
        """Our error for an answer of the API server (``status`` 0: there was none)."""
        try:
            said = mask(str(json.loads(body)["message"]))
        except (ValueError, KeyError, TypeError):
            said = mask(body)
        message = f"Could not {self.what}: "
        if status == 0:
            return self.unreachable(said)
        if status == 401:
            return CredentialError(
                f"{message}the cluster at {self.address} does not accept the credentials of the kubeconfig.",
                hint="Log in to the cluster again, or correct kubernetes.kubeconfig and kubernetes.context.",
                details=said,
            )
        if status == 403 and "User " in said and " cannot " in said:
            return CredentialError(
                f"{message}permission is lacking.", hint="Ask for a Role that allows it.", details=said
            )
        if status == 403 and "exceeded quota" in said:
            return InfrastructureError(f"{message}the namespace's quota is used up.", details=said)
        if status in (400, 403, 422):
            return ConfigError(f"{message}the cluster refuses it.", details=said)
        if status == 404:
            hint = "Create the namespace, or correct it in the configuration." if said.startswith("namespaces ") else ""
            return NotFound(f"{message}{said}.", hint=hint)
        if status == 409:
            return Conflict(f"{message}{said}.")
        return InfrastructureError(f"{message}the API server answered {status}.", details=said)
