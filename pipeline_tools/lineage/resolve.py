"""Follows the links from one thing to what it came from, and back.

Nothing is kept between two calls and nothing is inferred: a link is there when the thing itself says it (a label, an
annotation, a property, a header, what helm stores), and a link that is not there is a gap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from pipeline_tools.errors import CredentialError, InfrastructureError, PipelineError, QualityError
from pipeline_tools.lineage.graph import Graph, Node
from pipeline_tools.lineage.words import (
    BUILD,
    BUILD_NUMBER,
    CODE,
    DATA,
    DATA_HEADER,
    DIGEST_HEADER,
    IS_DEPLOYED,
    METRIC,
    MODEL,
    MODEL_HEADER,
    MODEL_SHA256,
    MODEL_VERSION,
    REQUEST_ID,
    REVISION,
    SERVED_BY,
    SOURCE,
    TITLE,
    VERSION,
)
from pipeline_tools.step import Json
from pipeline_tools.systems.artifactory import Artifact, Image
from pipeline_tools.systems.commits import COMMIT, Commit, Entry
from pipeline_tools.systems.helm import Details
from pipeline_tools.systems.kubernetes import Pod

# What a package's name or version is made of: it becomes part of an address, and comes from outside.
PLAIN = r"[A-Za-z0-9][A-Za-z0-9._+!-]*"
BUILD_AGAIN = "Build it with the step `image`, which writes the label, and deploy again."


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where releases run: an environment, and its namespace."""

    environment: str
    namespace: str


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What a wheel says of itself: its linaje.json, and the digest that a service with it tells (``sha256:…``)."""

    about: Mapping[str, Json]
    digest: str


class World(Protocol):
    """What is asked. Every method may raise a PipelineError; what does not exist is None or empty.

    Attributes:
        project: the name of the project that is asked about; ``release_name``: that of its release.
        model: the package that its image has as its model; None: none.
        images, charts, wheelhouse: where images (``HOST/REPOSITORY``), charts and wheels are.
    """

    project: str
    release_name: str
    model: str | None
    images: str
    charts: str
    wheelhouse: str

    def places(self) -> Sequence[Place]:
        """The environments."""

    def releases(self, place: Place) -> Sequence[str]:
        """Names of the releases in it."""

    def release(self, place: Place, name: str) -> Details | None:
        """What helm stores of one."""

    def pods(self, place: Place) -> Sequence[Pod]:
        """The pods in it that are not on their way out."""

    def pod(self, place: Place, name: str) -> Pod | None:
        """One of them."""

    def release_of(self, place: Place, pod: Pod) -> tuple[tuple[str, str] | None, str]:
        """Namespace and name of a pod's release, and where that was read or looked for."""

    def chart(self, name: str, version: str) -> str | None:
        """Digest of a chart."""

    def image(self, repository: str, reference: str) -> Image | None:
        """The image ``HOST/REPOSITORY/NAME`` at a tag or digest."""

    def tags(self, repository: str) -> Sequence[str]:
        """Its tags."""

    def packages(self) -> Sequence[str]:
        """Names of the packages."""

    def versions(self, name: str) -> Sequence[str]:
        """Versions of a package."""

    def wheels(self, name: str, version: str) -> Sequence[Artifact]:
        """The wheels of a version."""

    def wheels_with(self, properties: Mapping[str, str]) -> Sequence[Artifact]:
        """The wheels with these properties; ``*`` stands for anything."""

    def inside(self, target: str) -> Inside:
        """What a wheel says of itself."""

    def commit(self, name: str, url: str) -> Commit | None:
        """A commit, of the repository at ``url``, or of the project's own; None when neither is known to have it."""

    def sources(self, name: str) -> Sequence[Entry]:
        """What is in the folders of sources of a commit that `commit` found."""


class Resolver:
    """Fills ``graph``. Each method adds a thing with all that it came from, and returns its key."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.graph = Graph()
        self._done: set[tuple[str, ...]] = set()

    @contextmanager
    def asking(self, of: str) -> Iterator[None]:
        """What goes wrong in this block is a gap of ``of``."""
        try:
            yield
        except PipelineError as error:
            outside = isinstance(error, (InfrastructureError, CredentialError))
            self.graph.gap(of, error.message, error.hint, error.exit_code if outside else QualityError.exit_code)

    def first(self, *about: str) -> bool:
        """Whether this is asked for the first time."""
        if about in self._done:
            return False
        self._done.add(about)
        return True

    # ── what runs ──

    def request(self, headers: Mapping[str, str], where: str) -> str:
        """An answer, by its headers (names in lower case); ``where`` is what is shown of it."""
        told = {name: headers[name] for name in (MODEL_HEADER, DIGEST_HEADER, DATA_HEADER) if headers.get(name)}
        key = self.graph.add(Node(kind="request", id=headers.get(REQUEST_ID) or where, title=where, facts=told))
        found = re.fullmatch(r"([a-z0-9-]+)/([a-z0-9.-]+)", headers.get(SERVED_BY, ""))
        if found is None:
            hint = "The bundled chart sets SERVICIO_POD, with which the service says it. Or begin at the pod."
            self.graph.gap(key, "The answer does not say which pod gave it: it has no header Served-By.", hint)
        else:
            with self.asking(key):
                self._served_by(key, *found.groups())
        version = headers.get(MODEL_HEADER)
        if not version:
            hint = "Is it an answer of the service itself, and not of something before it?"
            self.graph.gap(key, "The answer does not say which model gave it: it has no header Model-Version.", hint)
        elif self.world.model is None:
            hint = "Set image.model in the service's pipeline.yml to the name of the package."
            self.graph.gap(key, f"Of which package {version} is the version is not known: no model is named.", hint)
        else:
            model = self.model(self.world.model, version)
            self.graph.link(key, model, "answered by the model", "header Model-Version")
            with self.asking(key):
                self._same_model(key, version, headers.get(DIGEST_HEADER, ""))
        return key

    def _served_by(self, key: str, namespace: str, name: str) -> None:
        for place in self.world.places():
            if place.namespace == namespace and (pod := self.world.pod(place, name)) is not None:
                self.graph.link(key, self.pod(place, pod), "answered by", "header Served-By")
                return
        self.graph.gap(
            key,
            f"The pod {namespace}/{name}, which gave the answer, is in no environment any more.",
            "What its model came from is known all the same, from the other headers.",
        )

    def _same_model(self, key: str, version: str, digest: str) -> None:
        """Prove that the published wheel is what answered."""
        assert self.world.model is not None
        for wheel in self.world.wheels(self.world.model, version):
            if digest and (there := self.world.inside(wheel.target).digest) != digest:
                self.graph.gap(
                    key,
                    f"{wheel.target} is not the model that answered: its digest is {there}.",
                    f"The answer says {digest}. Find out who published another wheel of the same version.",
                )

    def pod(self, place: Place, pod: Pod) -> str:
        """A pod."""
        state = "ready" if pod.ready else pod.phase.lower() + ", not ready"
        facts = {"namespace": pod.namespace, "state": state}
        name = f"{place.environment}/{pod.name}"
        key = self.graph.add(Node(kind="pod", id=name, title=name, facts=facts))
        if not self.first(key):
            return key
        # before the release, which knows less of the image than the pod's own annotations
        for container in pod.containers:
            if not container.digest:
                says = (
                    f"The container {container.name} has no image yet: {container.reason or container.state or 'new'}."
                )
                self.graph.gap(key, says, "Ask again when it runs.")
                continue
            image = self.image(container.repository, container.digest, pod.annotations, f"the pod {pod.name}")
            self.graph.link(key, image, "runs the image", f"status of the container {container.name}")
        with self.asking(key):
            release, read = self.world.release_of(place, pod)
            if release is None:
                says = f"The pod is of no helm release: no annotation meta.helm.sh/release-name ({read})."
                self.graph.gap(key, says, "Deploy with the step `deploy`, or with helm.")
            else:
                namespace, name = release
                above = self.release(Place(environment=place.environment, namespace=namespace), name)
                self.graph.link(key, above, "part of the release", read)
        return key

    def release(self, place: Place, name: str) -> str:
        """A release, without its pods."""
        known = f"{place.environment}/{name}"
        key = self.graph.add(Node(kind="release", id=known, title=known))
        if not self.first(key):
            return key
        with self.asking(key):
            about = self.world.release(place, name)
            if about is None:
                self.graph.gap(key, f"helm does not know the release {name} any more.", "Deploy it again.")
                return key
            facts = {"revision": str(about.revision), "status": about.status, "deployed": about.deployed}
            told = re.fullmatch(IS_DEPLOYED, about.description)
            facts |= told.groupdict() if told else {}
            self.graph.add(Node(kind="release", id=known, title="", facts=facts))
            if told is None:
                says = f"The release does not say which run deployed it: helm describes it as {about.description!r}."
                self.graph.gap(key, says, "Deploy it with the step `deploy`, which writes it.")
            chart = self._chart(about.chart, about.version)
            self.graph.link(key, chart, "installed from the chart", "what helm stores of the release")
            witness = about.values.get("podAnnotations")
            for reference in about.images:
                self._rendered(key, reference, witness if isinstance(witness, dict) else {}, name)
        return key

    def _rendered(self, key: str, reference: str, witness: Mapping[str, str], name: str) -> None:
        repository, _, digest = reference.partition("@")
        if not digest:
            says = f"The release names the image {reference} by a tag, which may mean something else by now."
            self.graph.gap(key, says, "The pods say which digest runs; let the chart name images by digest.")
            return
        image = self.image(_without_tag(repository), digest, witness, f"the release {name}, in its values")
        self.graph.link(key, image, "deploys the image", "manifest that helm stores of the release")

    def running(self) -> None:
        """Every release and pod of every environment, with all that they came from."""
        for place in self.world.places():
            with self.asking(""):
                for pod in self.world.pods(place):
                    self.pod(place, pod)
            with self.asking(""):
                for name in self.world.releases(place):
                    self.release(place, name)

    # ── what it was made from ──

    def _chart(self, name: str, version: str) -> str:
        key = self.graph.add(Node(kind="chart", id=f"{name} {version}", title=f"{name} {version}"))
        if self.first(key):
            with self.asking(key):
                digest = self.world.chart(name, version)
                if digest is None:
                    says = f"The chart {name} {version} is not in {self.world.charts}: deleted, or from elsewhere."
                    self.graph.gap(key, says, "Publish it with the step `chart`.")
                else:
                    self.graph.add(Node(kind="chart", id=f"{name} {version}", title="", facts={"digest": digest}))
        return key

    def image(self, repository: str, digest: str, witness: Mapping[str, str], who: str) -> str:
        """An image.

        Args:
            witness: what else says, in the same words, what the image's labels say; heard when the image is gone.
            who: where that stands.
        """
        name = repository.rpartition("/")[2]
        node = Node(kind="image", id=digest, title=f"{name}@{digest[:19]}", facts={"repository": repository})
        key = self.graph.add(node)
        if not self.first(key):
            return key
        labels, where = witness, f"annotation {{}} of {who}"
        with self.asking(key):
            image = self.world.image(repository, digest)
            if image is None:
                says = f"The image is not in {repository} any more: its labels cannot be read."
                self.graph.gap(key, says, "Build the same commit again: `pipeline-tools step image --force`.")
            else:
                labels, where = image.labels, "label {} of the image"
        if labels is witness and REVISION not in witness:
            return key  # why is told
        if version := labels.get(VERSION, ""):
            self.graph.add(Node(kind="image", id=digest, title="", facts={"version": version}))
        if version.endswith("-dirty"):
            says = f"The image was built with changes that are in no commit ({where.format(VERSION)}: {version})."
            self.graph.gap(key, says, "Commit them, build and deploy again.")
        if revision := labels.get(REVISION):
            self._made_by(
                key,
                revision,
                labels.get(SOURCE, ""),
                labels.get(TITLE, ""),
                "built from the commit",
                where.format(REVISION),
            )
        else:
            says = f"The image does not say which commit it was built from: it has no label {REVISION}."
            self.graph.gap(key, says, BUILD_AGAIN)
        if model := labels.get(MODEL):
            made = self.model(model, labels.get(MODEL_VERSION, ""), labels.get(MODEL_SHA256, ""))
            self.graph.link(key, made, "has in it the model", where.format(MODEL))
        elif self.world.model is not None and labels.get(TITLE) == self.world.project:
            says = f"The image does not say which {self.world.model} is in it: it has no label {MODEL}."
            self.graph.gap(key, says, BUILD_AGAIN)
        return key

    def model(self, name: str, version: str, sha256: str = "") -> str:
        """The wheel of a model; ``sha256`` when that is known."""
        known = {"sha256": sha256} if sha256 else {}
        key = self.graph.add(Node(kind="model", id=f"{name}=={version}", title=f"{name} {version}", facts=known))
        if not self.first(key, sha256):
            return key
        with self.asking(key):
            there = (
                self.world.wheels(name, version) if re.fullmatch(PLAIN, name) and re.fullmatch(PLAIN, version) else []
            )
            same = [wheel for wheel in there if sha256 in ("", wheel.sha256)]
            if not there:
                self.graph.gap(
                    key,
                    f"{name} {version} is not in {self.world.wheelhouse}: the wheel was deleted, or is elsewhere.",
                    "Publish the same version again from the same commit: it has the same bytes.",
                )
            elif len(same) != 1:
                found = ", ".join(f"{wheel.target} sha256:{wheel.sha256}" for wheel in there)
                wanted = f"sha256:{sha256} is not among them" if sha256 else "which one is meant is not known"
                says = f"The published wheels of {name} {version} are {found}; {wanted}."
                self.graph.gap(key, says, "A version is published once: find out who published another wheel.")
            else:
                self._wheel(key, same[0])
        return key

    def _wheel(self, key: str, wheel: Artifact) -> None:
        node, file = self.graph.nodes[key], wheel.target.rpartition("/")[2]
        facts = {"sha256": wheel.sha256, "file": wheel.target}
        told = {"built by": wheel.value(BUILD), "in run": wheel.value(BUILD_NUMBER)}
        facts |= {name: value for name, value in told.items() if value}
        metrics = {name: wheel.value(name) for name in sorted(wheel.properties) if name.startswith(METRIC)}
        facts |= {name.removeprefix(METRIC): value for name, value in metrics.items()}
        self.graph.add(Node(kind="model", id=node.id, title=node.title, facts=facts))
        package = node.id.partition("==")[0]
        for role, says, (revision, url, inside) in (
            (package, "trained by the code", CODE),
            ("data", "trained on the data", DATA),
        ):
            found, read = wheel.value(revision), f"property {revision} of {file}"
            with self.asking(key):
                if not found:
                    found, read = _at(self.world.inside(wheel.target).about, inside), f"linaje.json in {file}"
                address = wheel.value(url)
                commit = self._made_by(key, found, address, role, says, read)
                if commit is not None and role == "data":
                    self._sources(commit, address)

    def _made_by(self, key: str, revision: str, url: str, role: str, says: str, read: str) -> str | None:
        """The commit that a thing was made from, ``role`` is what it is the commit of; None when it was none."""
        title = self.graph.nodes[key].title
        clean = revision.removesuffix("-dirty")
        if not re.fullmatch(COMMIT, clean):
            what = f"{revision!r} is no commit ({read})" if revision else f"nothing in {read} says it"
            says_no = f"{title}: by which commit it was {says} is not known: {what}."
            self.graph.gap(key, says_no, "Make it again with its own pipeline, from a commit.")
            return None
        commit = self.commit(clean, url, role)
        self.graph.link(key, commit, says, read)
        if clean != revision:
            changed = f"{title}: {clean[:12]} had changes that are in no commit ({read})."
            self.graph.gap(key, changed, "Commit them, and make it again.")
        return commit

    def commit(self, name: str, url: str, role: str = "") -> str:
        """A commit, of the repository at ``url`` if that is known, and of what it is one."""
        facts = {"repository": url} if url else {}
        key = self.graph.add(Node(kind="commit", id=name, title=f"{role} {name[:12]}".strip(), facts=facts))
        if self.first(key, url):
            with self.asking(key):
                found = self.world.commit(name, url)
                if found is not None:
                    told = {"date": found.date, "subject": found.subject}
                    self.graph.add(Node(kind="commit", id=name, title="", facts=told))
        return key

    def _sources(self, key: str, url: str) -> None:
        name = self.graph.nodes[key].id
        if not self.first("sources", key):
            return
        with self.asking(key):
            if self.world.commit(name, url) is None:
                says = "What the data was extracted from is not known: its repository is not."
                hint = f"Publish the model with the property {DATA[1]}, or ask in a clone of the data project."
                self.graph.gap(key, says, hint)
                return
            found = self.world.sources(name)
            for entry in found:
                node = Node(kind="source", id=f"{entry.path}@{entry.id}", title=entry.path, facts={"content": entry.id})
                self.graph.link(key, self.graph.add(node), "extracted from", f"tree of the commit {name[:12]}")
            if not found:
                says = "The commit has no folder of sources."
                self.graph.gap(key, says, "Name it in lineage.sources.")


def _at(about: Json, path: Sequence[str]) -> str:
    for name in path:
        about = about.get(name) if isinstance(about, Mapping) else None
    return about if isinstance(about, str) else ""


def _without_tag(reference: str) -> str:
    """``HOST:PORT/NAME`` of ``HOST:PORT/NAME:TAG``."""
    name, colon, tag = reference.rpartition(":")
    return reference if not colon or "/" in tag else name
