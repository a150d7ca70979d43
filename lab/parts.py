"""The table of parts: what each is, what it needs, when it is ready and how one logs in.

A part's programs are in ``templates/supervisord.conf`` under the names given here; its build is in ``builds.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from lab import builds, checks, cluster, images, repositories, sonarqube
from lab.layout import Lab
from pipeline_tools import process


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the laboratory.

    Args:
        version: the version, or the Debian package that has it after a ``deb:``.
        build: its entry in ``builds.BUILDS``; it is made as soon as the laboratory comes up, whatever the part needs.
        needs: parts that must be ready before it starts.
        programs: supervisord's names of its programs.
        ready: whether it answers; called again and again.
        setup: brings what it holds from the start; after it is ready, at every ``up``, so it must be repeatable.
        replaced_by: sections of a platform file; when a user's file names a server in each, this part is not started.
        address: where it answers.
        login: how one logs in; never a secret itself.
    """

    name: str
    version: str
    build: str | None = None
    needs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    ready: Callable[[Lab], bool] = field(default=lambda lab: True)
    setup: Callable[[Lab], None] | None = None
    replaced_by: tuple[str, ...] = ()
    address: Callable[[Lab], str] = field(default=lambda lab: "")
    login: Callable[[Lab], str] = field(default=lambda lab: "")

    def shown_version(self) -> str:
        """The version, asked from Debian's package manager where that has it."""
        package = self.version.partition("deb:")[2]
        if not package:
            return self.version
        found = process.run(["dpkg-query", "-W", "-f", "${Version}", package], timeout=10, ok=(0, 1)).stdout
        upstream = re.match(r"(?:\d+:)?([\d.]+)", found)
        return upstream[1] if upstream else ""


def _built(name: str) -> str:
    return builds.BUILDS[name].version


# Those whose making or starting takes longest first.
PARTS = (
    Part(name="etcd", version="deb:etcd-server", programs=("etcd",), ready=checks.etcd, replaced_by=("kubernetes",)),
    Part(
        name="api-server",
        version=_built("kubernetes"),
        build="kubernetes",
        needs=("etcd",),
        programs=("kube-apiserver",),
        ready=cluster.api_ready,
        setup=cluster.apply_objects,
        replaced_by=("kubernetes",),
        address=lambda lab: f"https://{lab.at('kubernetes')}",
        login=lambda lab: f"export KUBECONFIG={lab.credentials / 'kubeconfig'}",
    ),
    Part(
        name="kubernetes",
        version=_built("kubernetes"),
        needs=("containerd", "api-server"),
        programs=("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy"),
        ready=cluster.node_ready,
        replaced_by=("kubernetes",),
        address=lambda lab: f"TEST http://{lab.at('test')}, PROD http://{lab.at('prod')}",
    ),
    Part(
        name="sonarqube",
        version=_built("sonarqube"),
        build="sonarqube",
        programs=("sonarqube",),
        ready=sonarqube.ready,
        setup=sonarqube.set_up,
        replaced_by=("sonarqube",),
        address=lambda lab: f"http://{lab.at('sonarqube')}",
        login=lambda lab: f"admin, {lab.credentials / 'sonar-admin-password'}",
    ),
    Part(
        name="containerd",
        version="deb:containerd",
        build="pause",
        programs=("containerd",),
        ready=checks.containerd,
        setup=images.import_pause,
        replaced_by=("docker", "kubernetes"),
    ),
    Part(
        name="docker",
        version="deb:docker.io",
        needs=("containerd",),
        programs=("dockerd",),
        ready=checks.docker,
        replaced_by=("docker",),
        address=lambda lab: f"unix://{lab.run / 'docker.sock'}",
        login=lambda lab: f"export DOCKER_HOST=unix://{lab.run / 'docker.sock'}",
    ),
    Part(
        name="registry",
        version="deb:docker-registry",
        programs=("registry",),
        ready=checks.registry,
        replaced_by=("artifactory",),
        address=lambda lab: "through artifactory",
    ),
    Part(
        name="artifactory",
        version="1",
        needs=("registry",),
        programs=("artifactory",),
        ready=checks.artifactory,
        replaced_by=("artifactory",),
        address=lambda lab: f"http://{lab.at('artifactory')}/artifactory",
        login=lambda lab: f"ci, {lab.credentials / 'artifactory-password'}",
    ),
    Part(
        name="git",
        version="deb:lighttpd",
        programs=("git",),
        ready=checks.git,
        setup=repositories.create,
        address=lambda lab: f"http://{lab.at('git')}/NAME.git",
        login=lambda lab: f"ci, {lab.credentials / 'git-password'}",
    ),
    Part(
        name="base-image",
        version=_built("python"),
        build="python",
        needs=("docker", "artifactory"),
        setup=images.push_base,
        address=images.base,
    ),
    Part(
        name="scanner",
        version=builds.SCANNER_VERSION,
        build="sonarqube",
        needs=("base-image",),
        setup=images.push_scanner,
        address=images.scanner,
    ),
    Part(name="helm", version=_built("helm"), build="helm", address=lambda lab: str(lab.dir / "bin" / "helm")),
    Part(
        name="dns",
        version=_built("coredns"),
        build="coredns",
        needs=("api-server",),
        programs=("coredns",),
        ready=checks.dns,
        replaced_by=("kubernetes",),
        address=lambda lab: "10.96.0.10, from pods",
    ),
    Part(
        name="metrics",
        version=builds.METRICS_VERSION,
        needs=("kubernetes",),
        programs=("metrics-server",),
        ready=cluster.metrics_ready,
        replaced_by=("kubernetes",),
        address=lambda lab: "kubectl top pods",
    ),
)
