"""The systems that the configuration names, as `resolve.World` wants to ask them; nothing is asked twice."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError, PipelineError
from pipeline_tools.lineage.resolve import Inside, Place
from pipeline_tools.systems import artifactory, commits, helm, release
from pipeline_tools.systems.artifactory import Artifact, Artifactory, Image
from pipeline_tools.systems.kubernetes import Kubernetes, NotFound, Pod

# More than any linaje.json has, in bytes: a wheel from outside must not fill our memory.
LARGEST = 1 << 20


class Systems:
    """The systems of a project.

    Args:
        project: its folder.
        configuration: gives the configuration of an environment (None: of none).
        environment: look in this one only; None: in all.
    """

    def __init__(
        self, project: Path, configuration: Callable[[str | None], Config], environment: str | None = None
    ) -> None:
        config = configuration(environment)
        self.config, self.folder, self._configuration = config, project, configuration
        self.project = config.name
        self.release_name: str = config.section("deploy").release or config.name
        self.model: str | None = config.section("image").model
        self.images = config.artifactory.docker or ""
        self.charts = config.artifactory.helm or "artifactory.helm, which is not set"
        self.wheelhouse = config.artifactory.pypi
        self._environments = [environment] if environment else list(config.environments)
        self._clusters: dict[str, Kubernetes] = {}
        self._told: dict[tuple[Any, ...], Any] = {}
        self._scratch = Path(tempfile.mkdtemp(prefix="pipeline-tools-"))
        weakref.finalize(self, _remove, self._scratch)

    def _once(self, *key: Any, ask: Callable[[], Any]) -> Any:
        """What ``ask`` returned or raised the first time."""
        if key not in self._told:
            try:
                self._told[key] = ask()
            except PipelineError as error:
                self._told[key] = error
        if isinstance(self._told[key], PipelineError):
            raise self._told[key]
        return self._told[key]

    # ── clusters ──

    def places(self) -> Sequence[Place]:
        """The environments, each with its namespace."""
        named = {name: self._configuration(name).section("deploy").namespace or name for name in self._environments}
        return [Place(environment=name, namespace=namespace) for name, namespace in named.items()]

    def _cluster(self, place: Place) -> Kubernetes:
        name = place.environment
        if name not in self._clusters:
            self._clusters[name] = release.connect(self._configuration(name).kubernetes)
        return self._clusters[name]

    def releases(self, place: Place) -> Sequence[str]:
        """As `World` says."""
        settings = self._configuration(place.environment).kubernetes
        found: Sequence[str] = self._once("releases", place, ask=lambda: helm.releases(settings, place.namespace))
        return found

    def release(self, place: Place, name: str) -> helm.Details | None:
        """As `World` says."""
        if name not in self.releases(place):
            return None
        return helm.details(self._configuration(place.environment).kubernetes, name, place.namespace)

    def pods(self, place: Place) -> Sequence[Pod]:
        """As `World` says."""
        pods = self._once("pods", place, ask=lambda: self._cluster(place).pods(place.namespace))
        return [pod for pod in pods if not pod.deleting and not pod.ended]

    def pod(self, place: Place, name: str) -> Pod | None:
        """As `World` says."""
        try:
            return self._cluster(place).pod(place.namespace, name)
        except NotFound:
            return None

    def release_of(self, place: Place, pod: Pod) -> tuple[tuple[str, str] | None, str]:
        """As `World` says."""
        # pods of one owner belong together
        key = ("release of", place, pod.owner or pod.name)
        found: tuple[tuple[str, str] | None, str] = self._once(
            *key, ask=lambda: release.release_of(self._cluster(place), pod)
        )
        return found

    # ── the repository manager ──

    @cached_property
    def _artifactory(self) -> Artifactory:
        return artifactory.from_config(self.config.artifactory)

    def _registry(self, repository: str) -> Artifactory:
        """Who holds an image; our password goes to no other registry than ours."""
        host, ours = repository.partition("/")[0], self.images.partition("/")[0]
        if host != ours:
            raise ConfigError(
                f"The image {repository} is not from our registry ({ours or 'artifactory.docker is not set'}): what it "
                "says of itself is not read.",
                hint="Keep a copy of it in artifactory.docker, or take it as it is.",
            )
        return self._artifactory

    def chart(self, name: str, version: str) -> str | None:
        """As `World` says."""
        if self.config.artifactory.helm is None:
            return None
        image = f"{self.config.artifactory.helm.removeprefix('oci://')}/{name}"
        # in a tag there is no +, for which helm writes _
        return self._artifactory.manifest_digest(image, version.replace("+", "_"))

    def image(self, repository: str, reference: str) -> Image | None:
        """As `World` says."""
        holder = self._registry(repository)
        found: Image | None = self._once(
            "image", repository, reference, ask=lambda: holder.image(repository, reference)
        )
        return found

    def tags(self, repository: str) -> Sequence[str]:
        """As `World` says."""
        return self._registry(repository).tags(repository)

    def packages(self) -> Sequence[str]:
        """As `World` says."""
        return self._artifactory.children(self.wheelhouse)

    def versions(self, name: str) -> Sequence[str]:
        """As `World` says."""
        return self._artifactory.children(f"{self.wheelhouse}/{name}")

    def wheels(self, name: str, version: str) -> Sequence[Artifact]:
        """As `World` says."""

        def ask() -> list[Artifact]:
            folder = f"{self.wheelhouse}/{name}/{version}"
            files = [file for file in self._artifactory.children(folder) if file.endswith(".whl")]
            found = [self._artifactory.artifact(f"{folder}/{file}") for file in files]
            return [artifact for artifact in found if artifact is not None]

        found: Sequence[Artifact] = self._once("wheels", name, version, ask=ask)
        return found

    def wheels_with(self, properties: Mapping[str, str]) -> Sequence[Artifact]:
        """As `World` says."""
        found = self._artifactory.find(self.wheelhouse, properties)
        return [artifact for artifact in found if artifact.target.endswith(".whl") and artifact.target.count("/") == 3]

    def inside(self, target: str) -> Inside:
        """As `World` says."""

        def ask() -> Inside:
            file = self._scratch / target.rpartition("/")[2]
            self._artifactory.download(target, file)
            return read_wheel(file)

        found: Inside = self._once("inside", target, ask=ask)
        return found

    # ── git ──

    def commit(self, name: str, url: str) -> commits.Commit | None:
        """As `World` says."""
        found: commits.Commit | None = self._once("commit", name, url, ask=lambda: self._commit(name, url))
        return found

    def _commit(self, name: str, url: str) -> commits.Commit | None:
        own = commits.commit(self.folder, name)
        if own is not None:
            self._told["repository", name] = self.folder
            return own
        if not url:
            return None
        copy = self._scratch / hashlib.sha256(f"{url} {name}".encode()).hexdigest()[:16]
        commits.fetch(url, name, copy, self.config.git, ours=commits.remote(self.folder))
        self._told["repository", name] = copy
        return commits.commit(copy, name)

    def sources(self, name: str) -> Sequence[commits.Entry]:
        """As `World` says."""
        folder: Path = self._told["repository", name]
        return commits.inside(folder, name, self.config.section("lineage").sources)


def read_wheel(file: Path) -> Inside:
    """What a wheel says of itself; empty when it has no linaje.json.

    The digest is the one that the bundled service tells of the package that it runs: SHA-256 of the names and digests
    that the wheel's RECORD has for it.

    Raises:
        ConfigError: it is no wheel, or its linaje.json is none.
    """
    try:
        with zipfile.ZipFile(file) as wheel:
            name = next((name for name in wheel.namelist() if name.endswith("/linaje.json")), None)
            if name is None:
                return Inside(about={}, digest="")
            package = name.partition("/")[0]
            record = next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
            about = json.loads(_small(wheel, name))
            rows = csv.reader(io.StringIO(_small(wheel, record).decode()))
            listed = sorted(
                f"{row[0]} {row[1].partition('=')[2]}"
                for row in rows
                if row and row[0].startswith(f"{package}/") and row[1]
            )
    except (zipfile.BadZipFile, ValueError, StopIteration, IndexError) as error:
        raise ConfigError(f"{file.name} is no wheel that can be read.", details=str(error)) from error
    digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    return Inside(about=about if isinstance(about, dict) else {}, digest=f"sha256:{digest}")


def _small(wheel: zipfile.ZipFile, name: str) -> bytes:
    if wheel.getinfo(name).file_size > LARGEST:
        raise ValueError(f"{name} has more than {LARGEST} bytes")
    return wheel.read(name)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
