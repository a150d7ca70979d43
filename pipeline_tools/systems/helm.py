"""helm: lint, package, push, install; its registry login lives in a folder of its own and goes with it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml

from pipeline_tools import secrets
from pipeline_tools.config.schema import Artifactory, Kubernetes
from pipeline_tools.errors import ConfigError, InfrastructureError
from pipeline_tools.failures import explained
from pipeline_tools.process import ProcessFailed, Result, run
from pipeline_tools.step import Json

TIMEOUT = 120.0
# How helm describes a revision that is one.
ROLLBACK = r"Rollback to ([0-9]+)"
# What it says when another helm is at work on the release: it has done nothing then.
TAKEN = r"another operation .* is in progress|release: already exists|cannot re-use a name that is still in use"


@dataclass(frozen=True, kw_only=True)
class Release:
    """A revision as `helm` knows it.

    Attributes:
        status: deployed, failed, pending-upgrade …
        description: a sentence.
        updated: when helm began to make it, by the clock of the machine that helm ran on.
    """

    name: str
    namespace: str
    revision: int
    status: str
    chart: str
    description: str
    updated: datetime


@dataclass(frozen=True, kw_only=True)
class Details:
    """What helm stores of a release's revision.

    Attributes:
        description: what `upgrade` was given; of a rollback that of the revision that it went back to.
        images: references of the images in what was rendered, sorted.
        values: those that were set; the chart's own are not among them.
    """

    name: str
    namespace: str
    revision: int
    status: str
    deployed: str
    chart: str
    version: str
    description: str
    images: tuple[str, ...]
    values: Mapping[str, Json]


def lint(chart: Path, values: Sequence[Path], *, log: Callable[[str], None], settings: Sequence[str] = ()) -> None:
    """Lint a chart with values.

    Raises:
        ConfigError: helm found an error; its output is in the step's log.
    """
    try:
        run(["helm", "lint", "--quiet", str(chart), *_values(values), *settings], timeout=TIMEOUT, log=log)
    except ProcessFailed as error:
        said = (error.result.stdout + error.result.stderr).strip()
        raise ConfigError(f"helm lint refuses {chart.name}.", details=said) from error


def package(chart: Path, *, version: str, into: Path, log: Callable[[str], None]) -> Path:
    """Package a chart; returns the archive."""
    argv = ["helm", "package", str(chart), "--version", version, "--destination", str(into)]
    try:
        run(argv, timeout=TIMEOUT, log=log)
    except ProcessFailed as error:
        raise ConfigError(f"helm could not package {chart}.", details=error.details) from error
    return next(into.glob("*.tgz"))


def push(archive: Path, artifactory: Artifactory, *, log: Callable[[str], None]) -> str:
    """Push a packaged chart; returns the digest of its manifest."""
    assert artifactory.helm is not None
    plain = ["--plain-http"] if artifactory.insecure else []
    with _login(artifactory) as config:
        result = _oci(["helm", "push", archive, artifactory.helm, *config, *plain], log)
    for line in (result.stdout + result.stderr).splitlines():
        if line.startswith("Digest:"):
            return line.removeprefix("Digest:").strip()
    raise InfrastructureError(f"helm push gave no digest for {archive.name}.", details=result.stderr)


def pull(name: str, version: str, artifactory: Artifactory, into: Path, *, log: Callable[[str], None]) -> Path:
    """Pull a chart of that version; returns the archive."""
    plain = ["--plain-http"] if artifactory.insecure else []
    with _login(artifactory) as config:
        source = [f"{artifactory.helm}/{name}", "--version", version, "--destination", str(into)]
        _oci(["helm", "pull", *source, *config, *plain], log)
    return next(into.glob("*.tgz"))


def upgrade(
    cluster: Kubernetes,
    *,
    release: str,
    chart: Path,
    namespace: str,
    values: Sequence[Path],
    settings: Sequence[str],
    description: str,
    timeout: float,
    log: Callable[[str], None],
) -> None:
    """Install or upgrade a release and wait until it is ready; helm keeps ``description`` with the revision.

    Raises:
        ProcessFailed: helm's own failure; the caller knows what to look at.
    """
    argv: list[str | Path] = ["helm", "upgrade", "--install", release, chart, "--namespace", namespace]
    argv += [*_values(values), *settings, *_cluster(cluster), "--wait", "--timeout", f"{timeout:.0f}s"]
    argv += ["--history-max", "10", "--description", description]
    run(argv, timeout=timeout + TIMEOUT, log=log)


def rollback(cluster: Kubernetes, release: str, namespace: str, revision: int, *, log: Callable[[str], None]) -> None:
    """Put a release back to a revision, without waiting for its pods."""
    argv = ["helm", "rollback", release, str(revision), "--namespace", namespace, *_cluster(cluster)]
    run(argv, timeout=TIMEOUT, log=log)


def uninstall(cluster: Kubernetes, release: str, namespace: str, *, log: Callable[[str], None]) -> None:
    """Remove a release and what it made; one that is not there is fine."""
    argv = ["helm", "uninstall", release, "--namespace", namespace, "--ignore-not-found", *_cluster(cluster)]
    run(argv, timeout=TIMEOUT, log=log)


def history(cluster: Kubernetes, release: str, namespace: str) -> list[Release]:
    """The revisions of a release, oldest first; empty when there is no such release.

    Raises:
        InfrastructureError: the cluster does not answer.
    """
    argv = ["helm", "history", release, "--namespace", namespace, "--output", "json", *_cluster(cluster)]
    result = run(argv, timeout=TIMEOUT, ok=(0, 1))
    if result.exit_code:
        if "not found" in result.stderr:
            return []
        raise explained("helm", result.stderr.strip(), "helm cannot ask the cluster for the release.")
    found: list[Json] = json.loads(result.stdout)
    return [
        Release(
            name=release,
            namespace=namespace,
            revision=int(entry["revision"]),
            status=str(entry["status"]),
            chart=str(entry["chart"]),
            description=str(entry.get("description", "")),
            updated=datetime.fromisoformat(entry.get("updated") or "0001-01-01T00:00:00Z"),
        )
        for entry in found
    ]


def releases(cluster: Kubernetes, namespace: str) -> list[str]:
    """Names of the releases in a namespace, those that are being deployed included."""
    argv = ["list", "--short", "--deployed", "--failed", "--pending", "--max", "10000", "--namespace", namespace]
    return _ask(cluster, argv).splitlines()


def details(cluster: Kubernetes, release: str, namespace: str) -> Details:
    """What helm stores of the last revision of a release.

    Raises:
        InfrastructureError: the cluster does not answer, or there is no such release.
    """
    words = [release, "--namespace", namespace, "--output", "json"]
    about: Json = json.loads(_ask(cluster, ["status", *words]))
    chart: Json = json.loads(_ask(cluster, ["get", "metadata", *words]))  # which the status leaves out
    revision, info = int(about["version"]), about["info"]
    description = str(info.get("description", ""))
    if re.fullmatch(ROLLBACK, description):
        description = described(history(cluster, release, namespace), revision)
    return Details(
        name=release,
        namespace=namespace,
        revision=revision,
        status=str(info["status"]),
        deployed=re.sub(r"\.[0-9]+", "", str(info["last_deployed"])),
        chart=str(chart["chart"]),
        version=str(chart["version"]),
        description=description,
        images=images(about["manifest"]),
        values=about.get("config") or {},
    )


def described(revisions: Sequence[Release], revision: int) -> str:
    """The description of a revision; of a rollback, that of what it went back to, as long as helm remembers it."""
    words = {each.revision: each.description for each in revisions}
    found = words.get(revision, "")
    while (back := re.fullmatch(ROLLBACK, found)) and int(back[1]) < revision:
        revision = int(back[1])
        found = words.get(revision, "")
    return found


def images(manifest: str) -> tuple[str, ...]:
    """References of the images that the containers of rendered objects name, sorted."""
    found: set[str] = set()

    def walk(node: Json) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("containers", "initContainers") and isinstance(value, list):
                    found.update(str(each["image"]) for each in value if isinstance(each, dict) and "image" in each)
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    for document in yaml.safe_load_all(manifest):
        walk(document)
    return tuple(sorted(found))


def _ask(cluster: Kubernetes, words: Sequence[str]) -> str:
    try:
        return run(["helm", *words, *_cluster(cluster)], timeout=TIMEOUT).stdout
    except ProcessFailed as error:
        message = f"helm {words[0]} failed at the cluster."
        raise explained("helm", error.result.stderr.strip(), message) from error


def version() -> str:
    """Helm's version."""
    return run(["helm", "version", "--template", "{{.Version}}"], timeout=TIMEOUT).stdout.strip()


def _values(files: Sequence[Path]) -> list[str]:
    return [str(word) for file in files for word in ("--values", file)]


def _cluster(cluster: Kubernetes) -> list[str]:
    words = ["--kubeconfig", str(Path(cluster.kubeconfig).expanduser())] if cluster.kubeconfig else []
    return words + (["--kube-context", cluster.context] if cluster.context else [])


@contextmanager
def _login(artifactory: Artifactory) -> Iterator[list[str]]:
    host = (artifactory.helm or "").removeprefix("oci://").partition("/")[0]
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as folder:
        config = ["--registry-config", str(Path(folder) / "registry.json")]
        argv = ["helm", "registry", "login", host, "--username", secrets.resolve(artifactory.username, masked=False)]
        argv += ["--password-stdin", *config, *(["--plain-http"] if artifactory.insecure else [])]
        _oci(argv, None, stdin=secrets.resolve(artifactory.password).encode())
        yield config


def _oci(argv: Sequence[str | Path], log: Callable[[str], None] | None, stdin: bytes | None = None) -> Result:
    try:
        return run(argv, timeout=TIMEOUT, log=log, stdin=stdin)
    except ProcessFailed as error:
        message = f"helm {argv[1]} failed at the chart repository."
        raise explained("helm registry", error.details, message) from error
