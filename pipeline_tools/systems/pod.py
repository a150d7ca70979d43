"""A command in a pod of its own: files go in, the log comes out, and nothing is left in the cluster.

The pod has two containers of one image. The first has no secret: it waits for a tar on the standard input of an exec.
The second then runs the command; its secrets come from a Secret that belongs to the pod, and goes when the pod is
deleted, by whomever. Both are deleted at the end, whatever the end is. What a killed process leaves is ended by the
pod's deadline and swept by the next session in the namespace.
"""

from __future__ import annotations

import io
import queue
import shlex
import signal
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from pipeline_tools import secrets as credentials
from pipeline_tools.config import schema
from pipeline_tools.errors import (
    ConfigError,
    CredentialError,
    InfrastructureError,
    PipelineError,
)
from pipeline_tools.masking import LineStream, mask
from pipeline_tools.systems.kubernetes import (
    MANAGED_BY,
    Kubernetes,
    NotFound,
    Pod,
    docker_config,
    secret_body,
)
from pipeline_tools.systems.pod_trouble import Trouble, diagnose, error_of

WORK = "/work"
# Where the files that are sent arrive; also the command's working directory.
SOURCE = f"{WORK}/src"
READY = f"{WORK}/.ready"
SESSION_LABEL = "pipeline-tools/session"
EXPIRES = "pipeline-tools/expires"
# How long after its deadline a session is taken for abandoned, in seconds: clocks differ.
MARGIN = 300.0
CLEANUP_TIMEOUT = (3.0, 10.0)
# After how many seconds without a line of output the pod is looked at.
LOOK_AFTER = 5.0
# Sending files: bytes at a time; seconds without progress, and seconds that unpacking may take after the last byte.
CHUNK, TRANSFER_TIMEOUT = 256 * 1024, 60.0
# Numbers of the channels of an exec.
STDIN, STATUS = 0, 3


@dataclass(frozen=True, kw_only=True)
class PullCredentials:
    """Who may pull the image; ``registry`` is HOST or HOST:PORT."""

    registry: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to run.

    Attributes:
        name: start of the pod's name.
        command: replaces the image's entrypoint and command.
        env: variables that anyone may read; ``secrets``: those that go through the Secret.
        cpu: requested, as Kubernetes writes it (``100m``).
        memory_request, memory: requested, and the limit, in bytes.
        timeout: seconds that the pod may live; ``start_timeout``: seconds until it must have started.
        service_account: whose token the pod gets; None: no token.
        node_selector, tolerations: which nodes take it, as Kubernetes writes them.
        volumes: more volumes as Kubernetes writes them, each with its ``mountPath``.
        outputs: folder below ``/work`` whose content `PodSession.fetch` gets.
        pull_secret: name of a Secret that is there already; ``pull``: credentials to make one of.
    """

    name: str
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    cpu: str = "100m"
    memory_request: int = 512 * 2**20
    memory: int = 2 * 2**30
    timeout: float = 900.0
    start_timeout: float = 300.0
    service_account: str | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    volumes: tuple[Mapping[str, Any], ...] = ()
    outputs: str | None = None
    pull_secret: str | None = None
    pull: PullCredentials | None = None


def registry_of(image: str) -> str:
    """The registry (``HOST`` or ``HOST:PORT``) that an image's name means."""
    first, slash, _ = image.partition("/")
    return first if slash and (first == "localhost" or "." in first or ":" in first) else "docker.io"


def is_ours(image: str, artifactory: schema.Artifactory) -> bool:
    """Whether an image comes from our repository manager."""
    return bool(artifactory.docker) and registry_of(f"{artifactory.docker}/x") == registry_of(image)


def pull_credentials(image: str, artifactory: schema.Artifactory) -> PullCredentials | None:
    """Our repository manager's user for an image that comes from there; None for any other image.

    Raises:
        CredentialError: the user or the password is not where the configuration says.
    """
    if not is_ours(image, artifactory):
        return None
    return PullCredentials(
        registry=registry_of(image),
        username=credentials.resolve(artifactory.username, masked=False),
        password=credentials.resolve(artifactory.password),
    )


@contextmanager
def pod_session(kubernetes: Kubernetes, namespace: str, task: Task, log: Callable[[str], None]) -> Iterator[PodSession]:
    """A pod for one task; it and its Secrets are gone when the block is left, however it is left.

    ``log`` gets the task's output line by line, masked, and what happens to the pod.

    Raises:
        ConfigError, CredentialError, InfrastructureError: the pod could not be made, with the reason.
    """
    session = PodSession(kubernetes, namespace, task, log)
    with _one_interrupt() as ignore_interrupts:
        try:
            session.create()
            yield session
        finally:
            ignore_interrupts()
            session.remove()


@contextmanager
def _one_interrupt() -> Iterator[Callable[[], None]]:
    """The first Ctrl-C or SIGTERM raises KeyboardInterrupt; a second one would come while the pod is being deleted.

    Gives a function that ignores them from now on.
    """
    if threading.current_thread() is not threading.main_thread():  # where none can arrive
        yield lambda: None
        return

    def ignore() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    def interrupt(number: int, frame: object) -> None:
        ignore()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, interrupt)
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class PodSession:
    """A running pod; made by `pod_session`. First `send`, then `run`."""

    def __init__(self, kubernetes: Kubernetes, namespace: str, task: Task, log: Callable[[str], None]) -> None:
        self.kubernetes = kubernetes
        self.namespace = namespace
        self.task = task
        self.log = log
        self.name = f"{task.name}-{uuid.uuid4().hex[:8]}"
        self._attempted = False

    def create(self) -> None:
        """Sweep what others left, then make the Secrets and the pod."""
        self._sweep()
        self._attempted = True
        core = self.kubernetes.core
        if self.task.pull:
            pull = self.task.pull
            data = {".dockerconfigjson": docker_config(pull.registry, pull.username, pull.password)}
            body = secret_body(f"{self.name}-pull", "kubernetes.io/dockerconfigjson", data, **self._metadata())
            self.kubernetes.create_secret(self.namespace, body)
        made = self.kubernetes.call(
            f"create pod {self.namespace}/{self.name}",
            core.create_namespaced_pod,
            self.namespace,
            manifest(self.name, self.task, self._metadata()),
        )
        owner = {"apiVersion": "v1", "kind": "Pod", "name": self.name, "uid": made["metadata"]["uid"]}
        if self.task.secrets:
            body = secret_body(self.name, "Opaque", self.task.secrets, **self._metadata(), ownerReferences=[owner])
            self.kubernetes.create_secret(self.namespace, {**body, "immutable": True})
        if self.task.pull:
            self.kubernetes.call(
                f"give secret {self.name}-pull to its pod",
                core.patch_namespaced_secret,
                f"{self.name}-pull",
                self.namespace,
                {"metadata": {"ownerReferences": [owner]}},
            )

    def send(self, folder: Path, files: Mapping[str, Path | bytes]) -> None:
        """Move files in, by their path in the pod's ``/work`` (``src/app.py``); relative sources are in ``folder``.

        Raises:
            InfrastructureError: the pod does not start in time, or the transfer breaks.
        """
        self._wait(lambda pod: any(each.state == "running" for each in pod.init_containers), "start")
        with _packed(folder, files) as packed:
            # into a folder of its own, because the volume's belongs to root
            code, said = self._exec("receive", f"mkdir -p {SOURCE} && exec tar xf - -C {WORK}", packed)
        if code != 0:
            raise InfrastructureError(
                f"The pod {self.name} could not unpack the files.", details=mask(said.decode(errors="replace"))
            )
        # lets the first container end, and with it perhaps this very exec: its exit code means nothing
        self._exec("receive", f"touch {READY}", io.BytesIO())

    def fetch(self) -> IO[bytes]:
        """The content of the task's ``outputs`` as a tar, after `run`; the container beside it holds the volume.

        Raises:
            InfrastructureError: the transfer breaks.
        """
        assert self.task.outputs is not None
        code, packed = self._exec("hold", f"exec tar cf - -C {shlex.quote(self.task.outputs)} .", io.BytesIO())
        if code not in (0, None):
            raise InfrastructureError(f"The pod {self.name} could not pack what the step left.")
        return io.BytesIO(packed)

    def _exec(self, container: str, script: str, stdin: IO[bytes]) -> tuple[int | None, bytes]:
        """Exit code (None: unknown) and output of a shell script in a container."""
        from kubernetes.stream import stream

        with self.kubernetes.errors(f"reach into pod {self.namespace}/{self.name}"):
            channel = stream(
                self.kubernetes.exec_core.connect_get_namespaced_pod_exec,
                self.name,
                self.namespace,
                container=container,
                command=["sh", "-c", script],
                stdin=True,
                stdout=True,
                stderr=True,
                tty=False,
                binary=True,
                _preload_content=False,
            )
            try:
                channel.sock.settimeout(TRANSFER_TIMEOUT)
                while chunk := stdin.read(CHUNK):
                    channel.write_stdin(chunk)
                channel.close_channel(STDIN)
                channel.run_forever(timeout=TRANSFER_TIMEOUT)
                known = not channel.is_open() and channel.peek_channel(STATUS)
                code = channel.returncode if known else None
                return code, channel.read_all()
            except _broken() as error:
                raise InfrastructureError(
                    f"The transfer of the files to the pod {self.name} broke off.", details=mask(str(error))
                ) from error
            finally:
                channel.close()
                channel.sock.shutdown()  # close() leaves the socket open when the server was the first to close

    def run(self) -> int:
        """Let the command run to its end, its output going to the log; returns its exit code.

        Raises:
            ConfigError: it needed more memory than it may have.
            InfrastructureError: it was evicted, took too long, or the cluster went away.
        """
        started = ("running", "terminated")
        self._wait(lambda pod: any(each.name == "run" and each.state in started for each in pod.containers), "start")
        seen = ""
        while True:
            seen = self._follow(seen)
            pod = self._read()
            self._raise_if_in_trouble(pod, final=True)
            ended = (each.exit_code for each in pod.containers if each.name == "run" and each.state == "terminated")
            code = next(ended, None)
            if code is not None:
                return code
            time.sleep(0.2)  # the node has not reported the end yet, or the stream broke while the command runs

    def remove(self) -> None:
        """Delete pod and Secrets; if the cluster cannot be reached, say what was left."""
        if not self._attempted:
            return
        core = self.kubernetes.core
        secrets = [self.name] * bool(self.task.secrets) + [f"{self.name}-pull"] * bool(self.task.pull)
        try:
            self._delete("pod", core.delete_namespaced_pod, self.name)
            for name in secrets:
                self._delete("secret", core.delete_namespaced_secret, name)
        except PipelineError as error:
            self.log(f"warning: {error.message}")
            self.log(
                f"warning: a pod and its Secret may be left in the cluster; the next run in {self.namespace} deletes "
                f"them after their deadline, or now: kubectl --namespace {self.namespace} delete pod,secret "
                f"--selector {SESSION_LABEL}={self.name}"
            )

    def _delete(self, kind: str, function: Callable[..., Any], name: str) -> None:
        with suppress(NotFound):  # never made, or gone with its pod
            self.kubernetes.call(
                f"delete {kind} {self.namespace}/{name}",
                function,
                name,
                self.namespace,
                grace_period_seconds=0,
                _request_timeout=CLEANUP_TIMEOUT,
            )

    def _metadata(self) -> dict[str, Any]:
        end = datetime.now(UTC) + timedelta(seconds=self.task.timeout + MARGIN)
        return {"labels": {**MANAGED_BY, SESSION_LABEL: self.name}, "annotations": {EXPIRES: end.isoformat()}}

    def _sweep(self) -> None:
        core = self.kubernetes.core
        selector = ",".join([*(f"{key}={value}" for key, value in MANAGED_BY.items()), SESSION_LABEL])
        for kind, listing, deletion in (
            ("pod", core.list_namespaced_pod, core.delete_namespaced_pod),
            ("secret", core.list_namespaced_secret, core.delete_namespaced_secret),
        ):
            what = f"list {kind}s in {self.namespace}"
            try:
                found = self.kubernetes.call(what, listing, self.namespace, label_selector=selector)
            except CredentialError as error:
                self.log(f"warning: what earlier runs left cannot be looked for: {error.message}")
                continue
            for item in found["items"]:
                if expired(item["metadata"], datetime.now(UTC)):
                    name = item["metadata"]["name"]
                    self.log(f"deleting {kind} {name}, which a killed run left")
                    self._delete(kind, deletion, name)

    def _read(self) -> Pod:
        try:
            return self.kubernetes.pod(self.namespace, self.name)
        except NotFound as error:
            raise InfrastructureError(
                f"The pod {self.name} is gone: someone deleted it, or its node went away.", hint="Run the step again."
            ) from error

    def _raise_if_in_trouble(self, pod: Pod, *, final: bool) -> Trouble | None:
        trouble = diagnose(pod)
        if trouble and (final or not trouble.transient or pod.ended):
            raise error_of(trouble, self.name)
        return trouble

    def _wait(self, done: Callable[[Pod], bool], what: str) -> None:
        """Look at the pod until ``done``; raises what keeps it from that, at once or when it takes too long."""
        end = time.monotonic() + self.task.start_timeout
        told = ""
        while not done(pod := self._read()):
            late = time.monotonic() > end
            trouble = self._raise_if_in_trouble(pod, final=late)
            if trouble and trouble.message != told:
                told = trouble.message
                self.log(f"waiting: {told}")
            if pod.ended or late:
                events = self.kubernetes.events(self.namespace, self.name)
                raise InfrastructureError(
                    f"The pod {self.name} did not {what} within {self.task.start_timeout:.0f} s.",
                    details="\n".join(f"{event.reason}: {event.message}" for event in events[-5:]),
                )
            time.sleep(0.2)

    def _follow(self, seen: str) -> str:
        """Log the command's output until the stream ends; returns the time stamp of the last line.

        Lines up to ``seen`` were logged before the stream broke. The stream is read in a thread of its own, so that
        Ctrl-C is noticed in the middle of it, and a cluster that went away without a word as well.
        """
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        logged = seen
        masked = LineStream()
        threading.Thread(target=self._pump, args=(lines,), daemon=True).start()
        while True:
            try:
                line = lines.get(timeout=LOOK_AFTER)
            except queue.Empty:
                # of a node that is lost no more is heard, and the stream does not end
                self._raise_if_in_trouble(self._read(), final=False)
                continue
            if line is None:
                for text in masked.flush():
                    self.log(text)
                return seen
            stamp, _, text = line.partition(" ")
            # what has no time stamp is said by the node, not by the command
            if stamp > logged and stamp[0].isdigit():  # the node writes them with a fixed number of digits
                seen = stamp
                for ready in masked.feed(f"{text}\n".encode()):
                    self.log(ready)

    def _pump(self, lines: queue.SimpleQueue[str | None]) -> None:
        rest = b""
        # when the stream breaks, whoever reads the queue finds out why by asking for the pod
        with suppress(Exception):
            response = self.kubernetes.core.read_namespaced_pod_log(
                self.name,
                self.namespace,
                container="run",
                follow=True,
                timestamps=True,
                _preload_content=False,
                _request_timeout=(5.0, self.task.timeout + MARGIN),
            )
            with closing(response):
                for chunk in response.stream():
                    *whole, rest = (rest + chunk).split(b"\n")
                    for line in whole:
                        lines.put(line.decode(errors="replace"))
        if rest:
            lines.put(rest.decode(errors="replace"))
        lines.put(None)


def expired(metadata: Mapping[str, Any], now: datetime) -> bool:
    """Whether an object of a session is past the time that was written on it."""
    try:
        return datetime.fromisoformat(metadata["annotations"][EXPIRES]) < now
    except (KeyError, TypeError, ValueError):
        return False  # not one of ours, whatever its label says


def manifest(name: str, task: Task, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The pod; it passes the PodSecurity level ``restricted``. Secrets are named in it, never contained."""
    mounts: list[dict[str, Any]] = [
        {"name": "work", "mountPath": WORK},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 — in the pod
        *({"name": each["name"], "mountPath": each["mountPath"]} for each in task.volumes),
    ]
    more = [{key: value for key, value in each.items() if key != "mountPath"} for each in task.volumes]
    common = {
        "image": task.image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
        "resources": {
            "requests": {"cpu": task.cpu, "memory": str(task.memory_request)},
            "limits": {"memory": str(task.memory)},
        },
    }
    env: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in task.env.items()]
    env += [{"name": key, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}} for key in task.secrets]
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": task.service_account is not None,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        "activeDeadlineSeconds": max(1, int(task.timeout)),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [
            {
                "name": "receive",
                "command": ["sh", "-c", f"until [ -e {READY} ]; do sleep 0.05; done"],
                **common,
            }
        ],
        "containers": [{"name": "run", "command": list(task.command), "workingDir": SOURCE, "env": env, **common}],
        "volumes": [{"name": "work", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}, *more],
        "nodeSelector": dict(task.node_selector),
        "tolerations": [dict(each) for each in task.tolerations],
    }
    if task.service_account:
        spec["serviceAccountName"] = task.service_account
    if task.outputs:
        # the volume can be read for as long as a container runs: until the pod is deleted
        idle = {**common, "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "64Mi"}}}
        spec["containers"].append({"name": "hold", "command": ["sh", "-c", "while sleep 1; do :; done"], **idle})
    pull = f"{name}-pull" if task.pull else task.pull_secret
    if pull:
        spec["imagePullSecrets"] = [{"name": pull}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


@contextmanager
def _packed(folder: Path, files: Mapping[str, Path | bytes]) -> Iterator[IO[bytes]]:
    """The files as a tar, at its beginning."""
    with tempfile.TemporaryFile(prefix="pipeline-tools-") as file:
        # a small image's tar may leave out PAX headers, Python's default, and with them every name that is not ASCII
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            for name, source in files.items():
                if isinstance(source, bytes):
                    info = tarfile.TarInfo(name)
                    info.size, info.mode, info.mtime = len(source), 0o644, int(time.time())
                    tar.addfile(info, io.BytesIO(source))
                    continue
                try:
                    tar.add(folder / source, arcname=name, recursive=False)
                except OSError as error:
                    raise ConfigError(f"{folder / source} cannot be sent: {error.strerror}.") from error
        file.seek(0)
        yield file


def _broken() -> tuple[type[Exception], ...]:
    """What the channel raises when the other end goes away."""
    import websocket

    return (websocket.WebSocketException, OSError)
