"""Put the service into each state as pods in a cluster, and print what the probes, the balancer and the users saw.

    .venv/bin/python benchmarks/service/pods.py [--image REPOSITORY@DIGEST]

The cluster is that of the platform file's environment `test`; without --image it is what the `image` step built last.
kubectl and helm must be on the PATH; it takes two minutes. Each state is a release of its own of the bundled chart: two
pods behind a Service, of which one gets into the state. What goes wrong is a package from a ConfigMap that is mounted
before the image's own model: neither the image nor the chart know of it. The table stands in docs/service-states.md;
tests/e2e/test_service_states.py asserts what it says.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from pipeline_tools import secrets
from pipeline_tools.config import layers
from pipeline_tools.config.schema import Config
from pipeline_tools.systems.release import connect

ROOT = Path(__file__).resolve().parents[2]
FAULTY = ROOT / "service/tests/averiado/clasificador_modelo/__init__.py"
OBSERVER = Path(__file__).with_name("observer.py")
BEFORE = 1.0  # seconds of watching before it goes wrong
AT_ONCE = 5  # states at a time: more would wait for one another on two cores
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
USER = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}}


@dataclass(frozen=True, kw_only=True)
class State:
    """A state: the jobs or clients that bring it about, or what is done from outside to the pod of that name.

    ``rollout``: what goes wrong is a new version, so that the pod that is watched is the first of the new ones.
    """

    name: str
    seconds: float
    texts: Sequence[str] = ()
    slow: int = 0
    act: Callable[[Cluster, str], None] | None = None
    rollout: bool = False


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of a state; times are in seconds after it went wrong.

    Attributes:
        live, ready: spans in which the pod's probe failed; a new pod's is not ready from before 0.
        out: spans in which the balancer did not send users to the pod; from before 0 for a new one.
        users, jobs: how often which answer came: a code, `refused`, `lost`, `late`.
        restarts: of the pod's container, by kubelet.
        kubelet: its complaints, by reason.
        after: the pod's end: "same worker", "new worker", "new container", "gone".
        slowest: of the probes that were answered, in seconds.
    """

    live: list[tuple[float, float]]
    ready: list[tuple[float, float]]
    out: list[tuple[float, float]]
    users: Mapping[str, int]
    jobs: Mapping[str, int]
    restarts: int
    kubelet: Mapping[str, int]
    after: str
    slowest: float


@dataclass(kw_only=True)
class Cluster:
    """A namespace of a cluster, through kubectl; and what its balancer has done so far."""

    kubeconfig: Path
    context: str | None
    namespace: str
    image: str
    pull_secret: str
    balanced: dict[str, list[tuple[float, frozenset[str]]]] = field(default_factory=dict)

    def argv(self, *words: str) -> list[str]:
        """kubectl, in the namespace."""
        context = ["--context", self.context] if self.context else []
        return ["kubectl", "--kubeconfig", str(self.kubeconfig), *context, "--namespace", self.namespace, *words]

    def kubectl(self, *words: str, stdin: str | None = None, seconds: float = 90) -> str:
        """Its standard output."""
        run = subprocess.run(self.argv(*words), input=stdin, capture_output=True, text=True, timeout=seconds)
        if run.returncode:
            raise RuntimeError(f"{' '.join(words)}: {run.stderr}")
        return run.stdout

    def get(self, *words: str) -> Any:
        """An object."""
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Make objects, or make them like this."""
        self.kubectl("apply", "--filename", "-", stdin=yaml.safe_dump_all(objects))

    def wait(self, pod: str, phase: str) -> None:
        """Until the pod has come to this phase."""
        self.kubectl("wait", f"pod/{pod}", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=120s", seconds=150)

    def python(self, pod: str, code: str) -> str:
        """Run a line in the pod, which has no other program."""
        return self.kubectl("exec", pod, "--", "python3", "-c", code).strip()

    def watch(self, process: subprocess.Popen[str]) -> None:
        """Write down which pods each Service sends users to, and since when."""
        assert process.stdout is not None
        decoder, text = json.JSONDecoder(), ""
        for line in process.stdout:
            text += line
            if line != "}\n":
                continue
            found, _ = decoder.raw_decode(text)
            text = ""
            service = found["metadata"]["labels"]["kubernetes.io/service-name"]
            pods = frozenset(
                endpoint["targetRef"]["name"]
                for endpoint in found.get("endpoints") or ()
                if endpoint["conditions"].get("ready")
            )
            self.balanced.setdefault(service, []).append((time.time(), pods))


def switch_maintenance(cluster: Cluster, pod: str) -> None:
    """On, and off after six seconds."""
    ask = "from http.client import *; c = HTTPConnection('127.0.0.1', 9090); c.request('{}', '/maintenance')"
    cluster.python(pod, f"{ask.format('PUT')}; c.getresponse()")
    time.sleep(6)
    cluster.python(pod, f"{ask.format('DELETE')}; c.getresponse()")


def kill(cluster: Cluster, pod: str) -> None:
    """The worker, which is the child of the pod's first process."""
    cluster.python(pod, "import os; os.kill(int(open('/proc/1/task/1/children').read().split()[0]), 9)")


def end(cluster: Cluster, pod: str) -> None:
    """As a rollout or a drained node does: SIGTERM, and no more users from now on."""
    cluster.kubectl("delete", "pod", pod, "--wait=false")


def wrong_wheel(cluster: Cluster, pod: str) -> None:
    """Roll a version out whose model fails its golden predictions."""
    release = pod.rsplit("-", 2)[0]
    cluster.kubectl("set", "env", f"deployment/{release}", "AVERIADO=golden")


STATES: Mapping[str, State] = {
    "deadlock": State(name="two jobs wait for one another's lock", texts=("@cerrojo 0", "@cerrojo 1"), seconds=16),
    "deadline": State(name="a job past its deadline", texts=("@largo 60",), seconds=16),
    "pool": State(name="a pool that waits for itself", texts=("@piscina",), seconds=16),
    "slow": State(name="300 clients that never finish their body", slow=300, seconds=16),
    "held": State(name="a job that holds the interpreter", texts=("@gil",), seconds=12),
    "maintenance": State(name="maintenance for 6 s", act=switch_maintenance, seconds=12),
    "sigterm": State(name="SIGTERM with a job of 7 s in flight", texts=("@largo 7",), act=end, seconds=12),
    "wheel": State(name="a new version with a wrong wheel", act=wrong_wheel, rollout=True, seconds=12),
    "long": State(name="a job of 8 s, within its deadline", texts=("@largo 8",), seconds=10),
    "busy": State(name="a busy loop in Python for 3 s", texts=("@ocupado 3",), seconds=6),
    "leak": State(name="a worker that leaks 300 threads", texts=("@fuga",), seconds=6),
    "full": State(name="full queue: 60 jobs of 1 s at once", texts=("@largo 1",) * 60, seconds=6),
    "kill": State(name="worker killed with -9", act=kill, seconds=6),
    "memory": State(name="a job that takes more memory than there is", texts=("@memoria 1000",), seconds=6),
}


@contextmanager
def cluster(config: Config, image: str) -> Iterator[Cluster]:
    """A namespace of the strictest level for the pods, which is gone afterwards."""
    namespace = f"states-{time.time():.0f}"
    settings, artifactory = config.kubernetes, config.artifactory
    found = Cluster(
        kubeconfig=Path(str(settings.kubeconfig)).expanduser(),
        context=settings.context,
        namespace=namespace,
        image=image,
        pull_secret="pull",
    )
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    found.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    watch = found.argv("get", "endpointslices", "--watch", "--output", "json")
    with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as process:
        try:
            connect(settings).ensure_pull_secret(
                namespace,
                found.pull_secret,
                str(artifactory.docker).partition("/")[0],
                secrets.resolve(artifactory.username, masked=False),
                secrets.resolve(artifactory.password),
            )
            data = {"__init__.py": FAULTY.read_text(), "observer.py": OBSERVER.read_text()}
            found.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": data})
            threading.Thread(target=found.watch, args=(process,), daemon=True).start()
            yield found
        finally:
            process.terminate()
            found.kubectl("delete", "namespace", namespace, "--wait=false")


def chart(cluster: Cluster, name: str, **more: Any) -> list[dict[str, Any]]:
    """The chart's objects for small pods, with ``more`` values."""
    repository, _, digest = cluster.image.partition("@")
    values = {
        "image": {"repository": repository, "digest": digest},
        "imagePullSecrets": [{"name": cluster.pull_secret}],
        "autoscaling": {"enabled": False},
        "ingress": {"enabled": False},
        "resources": {"requests": {"cpu": "20m", "memory": "96Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
        **more,
    }
    argv = ["helm", "template", name, str(ROOT / "chart"), "--values", "-"]
    text = subprocess.run(argv, input=yaml.safe_dump(values), check=True, capture_output=True, text=True).stdout
    return [found for found in yaml.safe_load_all(text) if found]


def faulty(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with the faulty model mounted into the pods."""
    for found in objects:
        if found["kind"] == "Deployment":
            pod = found["spec"]["template"]["spec"]
            pod["volumes"] = [{"name": "code", "configMap": {"name": "code"}}]
            (container,) = pod["containers"]
            mount = "/averiado/clasificador_modelo/__init__.py"
            container["volumeMounts"] = [{"name": "code", "mountPath": mount, "subPath": "__init__.py"}]
            container["env"] = [
                {"name": "PYTHONPATH", "value": "/averiado:/app:/app/packages"},
                {"name": "AVERIADO", "value": "texts"},
            ]
    return objects


def observer(cluster: Cluster, name: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The pod from which users come."""
    container = {
        "name": "observer",
        "image": cluster.image,
        "command": ["python3", "/code/observer.py"],
        "env": [{"name": "PLAN", "value": json.dumps(plan)}],
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
        "securityContext": RESTRICTED,
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "imagePullSecrets": [{"name": cluster.pull_secret}],
        "securityContext": USER,
        "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": "code"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"{name}-observer"}, "spec": spec}


def eventually(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Wait for something; what it is."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s in vain for {what}")
        time.sleep(0.2)
    return found


def pods(cluster: Cluster, name: str) -> list[Any]:
    """The release's pods that have an address, the oldest first."""
    found: list[Any] = cluster.get("pods", "--selector", f"app.kubernetes.io/instance={name}")["items"]
    return sorted(
        (pod for pod in found if pod["status"].get("podIP")), key=lambda pod: pod["metadata"]["creationTimestamp"]
    )


def prepare(cluster: Cluster, name: str) -> None:
    """Install the release, without waiting for it."""
    cluster.apply(*faulty(chart(cluster, name)))


def observe(cluster: Cluster, name: str) -> Observation:
    """Bring a release that is being installed into its state, and watch."""
    state = STATES[name]
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=120s", seconds=150)
    watched = pods(cluster, name)[0]
    if state.rollout and state.act:
        before = {pod["metadata"]["name"] for pod in pods(cluster, name)}
        state.act(cluster, watched["metadata"]["name"])
        new = eventually(
            lambda: [pod for pod in pods(cluster, name) if pod["metadata"]["name"] not in before], "the new pod"
        )
        (watched,) = new
    pod = watched["metadata"]["name"]
    service = cluster.get("service", name)["spec"]["clusterIP"]
    plan = {
        "pod": watched["status"]["podIP"],
        "service": service,
        "texts": state.texts,
        "slow": state.slow,
        "before": BEFORE,
        "after": state.seconds,
    }
    cluster.apply(observer(cluster, name, plan))
    acted = 0.0
    if state.act and not state.rollout:
        cluster.wait(f"{name}-observer", "Running")
        time.sleep(BEFORE + 0.5)  # the jobs are on their way
        acted = time.time()
        state.act(cluster, pod)
    cluster.wait(f"{name}-observer", "Succeeded")
    seen = json.loads(cluster.kubectl("logs", f"{name}-observer").splitlines()[-1])
    return _observation(cluster, name, pod, seen, acted - seen["zero"] if acted else 0.0)


def _observation(cluster: Cluster, name: str, pod: str, seen: Mapping[str, Any], shift: float) -> Observation:
    """``shift``: how long after the observer's zero it went wrong, in seconds."""
    zero = seen["zero"] + shift
    probes = [(at - shift, what, code, took) for at, what, code, took in seen["probes"]]
    now = [one for one in pods(cluster, name) if one["metadata"]["name"] == pod and not _deleted(one)]
    restarts = now[0]["status"]["containerStatuses"][0]["restartCount"] if now else 0
    if not now:
        after = "gone"
        probes = [one for one in probes if one[2].isdigit()]
    elif restarts:
        after = "new container"
    else:
        after = "same worker" if seen["starts"] == 1 else "new worker"
    events = cluster.get("events", "--field-selector", f"involvedObject.name={pod},type=Warning")["items"]
    complaints: Counter[str] = Counter()
    for event in (event for event in events if _time(event) >= zero):
        words = " ".join(event["message"].split()[:2]) if event["reason"] == "Unhealthy" else event["reason"]
        complaints[words] += int(event.get("count") or 1)
    over = max(at for at, *_ in probes)
    balanced = [(at - zero, pod in served) for at, served in cluster.balanced[name]]
    return Observation(
        live=_spans([(at, code == "200") for at, what, code, _ in probes if what == "live"], over),
        ready=_spans([(at, code == "200") for at, what, code, _ in probes if what == "ready"], over),
        out=[span for span in _spans(balanced, over) if span[1] > 0],
        users=Counter(code for _, _, code, _ in seen["users"]),
        jobs=Counter(code for _, _, code, _ in seen["jobs"]),
        restarts=restarts,
        kubelet=complaints,
        after=after,
        slowest=max(took for *_, took in probes),
    )


def _time(event: Mapping[str, Any]) -> float:
    """When it was seen last, in seconds since the epoch."""
    return datetime.fromisoformat(event["lastTimestamp"] or event["eventTime"]).timestamp()


def _deleted(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _spans(seen: Sequence[tuple[float, bool]], over: float) -> list[tuple[float, float]]:
    """When it was not so, from a time to a time; until ``over`` when it was not so at last."""
    spans: list[tuple[float, float]] = []
    since: float | None = None
    for at, so in seen:
        if not so and since is None:
            since = at
        elif so and since is not None:
            spans.append((since, at))
            since = None
    return spans if since is None else [*spans, (since, over)]


def observe_all(cluster: Cluster, names: Sequence[str] = tuple(STATES)) -> dict[str, Observation]:
    """All states, a few at a time; those that last equally long together."""
    found: dict[str, Observation] = {}
    for some in (names[at : at + AT_ONCE] for at in range(0, len(names), AT_ONCE)):
        for name in some:
            prepare(cluster, name)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            found |= dict(zip(some, threads.map(lambda name: observe(cluster, name), some), strict=True))
        for name in some:
            kinds = "deployment,service,poddisruptionbudget,configmap"
            cluster.kubectl("delete", kinds, "--selector", f"app.kubernetes.io/instance={name}", "--wait=false")
    return found


def _times(spans: Sequence[tuple[float, float]], what: str) -> str:
    return ", ".join(
        f"{what} from {begun:.1f} to {end:.1f} s" if begun > 0 else f"{what} from the start" for begun, end in spans
    )


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{number} × {what}" for what, number in sorted(counted.items())) or "none"


def row(state: State, seen: Observation) -> str:
    """A line of the table."""
    cells = [
        state.name,
        _times(seen.live, "fails") or "200",
        _times(seen.ready, "fails") or "200",
        f"{seen.slowest * 1000:.0f} ms",
        _counts(seen.kubelet),
        _times(seen.out, "out") or "stays in",
        _counts(seen.users),
        _counts(seen.jobs),
        seen.after,
    ]
    return f"| {' | '.join(cells)} |"


def built() -> str:
    """The image that the service's pipeline built last."""
    outputs = json.loads((ROOT / "service/.pipeline/latest/steps/image/outputs.json").read_text())
    return f"{outputs['repository']}@{outputs['digest']}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", help="repository@digest")
    parser.add_argument("--only", choices=STATES, action="append")
    words = parser.parse_args()
    config = layers.load(ROOT / "service", environment="test").config
    with cluster(config, words.image or built()) as one:
        found = observe_all(one, words.only or tuple(STATES))
    heads = ["state", "liveness", "readiness", "slowest probe", "kubelet", "the balancer"]
    heads += ["users of the Service", "the jobs themselves", "afterwards"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, seen in found.items():
        print(row(STATES[name], seen))


if __name__ == "__main__":
    main()
