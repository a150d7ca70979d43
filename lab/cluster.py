"""The Kubernetes cluster: when it is ready, and what is in it from the start."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from lab import builds, pki
from lab.layout import Lab
from pipeline_tools import process

# kubelet renews its lease every 10 s; the state that is stored in the cluster says Ready long after a machine's end.
FRESH = timedelta(seconds=20)


def kubectl(lab: Lab, *words: str, stdin: str | None = None) -> str:
    """Run kubectl as the administrator; its standard output."""
    program = builds.BUILDS["kubernetes"].folder(lab.builds) / "kubectl"
    command = [str(program), f"--kubeconfig={pki.kubeconfig(lab)}", "--request-timeout=20s", *words]
    return process.run(command, timeout=60, stdin=stdin.encode() if stdin else None).stdout


def _get(lab: Lab, *words: str) -> dict[str, Any] | None:
    with contextlib.suppress(process.ProcessFailed):
        found: dict[str, Any] = json.loads(kubectl(lab, "get", *words, "--output=json"))
        return found
    return None


def api_ready(lab: Lab) -> bool:
    """Whether the API server answers that it is ready."""
    with contextlib.suppress(process.ProcessFailed):
        return kubectl(lab, "get", "--raw", "/readyz").strip() == "ok"
    return False


def node_ready(lab: Lab) -> bool:
    """Whether the node is Ready, told by a kubelet that is alive now."""
    lease = _get(lab, "--namespace=kube-node-lease", "lease", "lab")
    node = _get(lab, "node", "lab")
    if lease is None or node is None:
        return False
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
    conditions = {entry["type"]: entry["status"] for entry in node["status"].get("conditions", [])}
    return datetime.now(UTC) - renewed < FRESH and conditions.get("Ready") == "True"


def metrics_ready(lab: Lab) -> bool:
    """Whether the node's use of processor and memory can be asked."""
    with contextlib.suppress(process.ProcessFailed):
        return bool(json.loads(kubectl(lab, "get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))["items"])
    return False


def apply_objects(lab: Lab) -> None:
    """Create the namespaces and the services of the parts that run beside the cluster."""
    objects = (lab.etc / "kubernetes" / "objects.yaml").read_text()
    kubectl(lab, "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=objects)
