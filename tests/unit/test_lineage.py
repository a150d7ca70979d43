"""Following a thing to what it came from and back, on answers as the systems give them; each broken link is said."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from rich.console import Console

from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError
from pipeline_tools.lineage import answers, start
from pipeline_tools.lineage.graph import Graph, from_json
from pipeline_tools.lineage.resolve import Inside, Place
from pipeline_tools.lineage.show import rows, table
from pipeline_tools.lineage.words import DEPLOYED, IS_DEPLOYED
from pipeline_tools.lineage.world import LARGEST, read_wheel
from pipeline_tools.report import html
from pipeline_tools.report.drawing import draw
from pipeline_tools.steps import deploy, image
from pipeline_tools.systems import helm
from pipeline_tools.systems.artifactory import Artifact, Image
from pipeline_tools.systems.commits import Commit, Entry
from pipeline_tools.systems.helm import Details
from pipeline_tools.systems.kubernetes import Kubernetes, Owner, Pod, parse_pod
from pipeline_tools.systems.release import release_of

DATA, CODE, SERVICE = "da7a" * 10, "c0de" * 10, "5e41" * 10
DIGEST, SHA256, SERVED = f"sha256:{'1' * 64}", "2" * 64, f"sha256:{'3' * 64}"
TEST, PROD = Place(environment="test", namespace="test"), Place(environment="prod", namespace="production")
REPOSITORY = "registry:1/docker-local/web"
LABELS = {
    "org.opencontainers.image.title": "web",
    "org.opencontainers.image.version": "1.0.0-g5e41",
    "org.opencontainers.image.revision": SERVICE,
    "lineage.model.name": "el-modelo",
    "lineage.model.version": "2.0.0",
    "lineage.model.sha256": SHA256,
}
WHEEL = Artifact(
    target="pypi-local/el-modelo/2.0.0/el_modelo-2.0.0-py3-none-any.whl",
    sha256=SHA256,
    properties={
        "vcs.revision": [CODE],
        "lineage.data.revision": [DATA],
        "lineage.data.url": ["https://git/data.git"],
        "build.name": ["el-modelo"],
        "build.number": ["run-7"],
        "lineage.metric.top1": ["0.93"],
    },
)
RELEASE = Details(
    name="web",
    namespace="production",
    revision=3,
    status="deployed",
    deployed="2026-11-25T10:00:00Z",
    chart="web-chart",
    version="1.0.0",
    description="run run-9 of web 1.0.0-g5e41",
    images=(f"{REPOSITORY}@{DIGEST}",),
    values={"podAnnotations": LABELS},
)
INSIDE = Inside(about={"data": {"commit": DATA}, "code": {"commit": CODE}}, digest=SERVED)


def pod(name: str, digest: str = DIGEST, annotations: Mapping[str, str] | None = None) -> Pod:
    status = {"name": "web", "imageID": f"{REPOSITORY}@{digest}", "ready": True, "state": {"running": {}}}
    conditions = [{"type": "Ready", "status": "True"}]
    about = {"name": name, "namespace": "production", "annotations": LABELS if annotations is None else annotations}
    return parse_pod({"metadata": about, "status": {"conditions": conditions, "containerStatuses": [status]}})


@dataclass
class Fake:
    """A world in which everything is as the steps leave it; a test takes something away."""

    project: str = "web"
    release_name: str = "web"
    model: str | None = "el-modelo"
    images: str = "registry:1/docker-local"
    charts: str = "oci://registry:1/helm-local"
    wheelhouse: str = "pypi-local"
    deployed: dict[Place, dict[str, Details]] = field(default_factory=lambda: {TEST: {}, PROD: {"web": RELEASE}})
    running: dict[Place, list[Pod]] = field(default_factory=lambda: {TEST: [], PROD: [pod("web-a"), pod("web-b")]})
    registry: dict[str, Image] = field(default_factory=lambda: {DIGEST: Image(digest=DIGEST, labels=LABELS)})
    published: list[Artifact] = field(default_factory=lambda: [WHEEL])
    published_charts: dict[str, str] = field(default_factory=lambda: {"web-chart 1.0.0": SERVED})
    wheel: Inside = INSIDE
    folders: Sequence[Entry] = (Entry(path="fuentes/a.csv", id="4" * 40), Entry(path="fuentes/notas/", id="5" * 40))
    owned: bool = True
    broken: dict[str, Exception] = field(default_factory=dict)

    def _ask(self, what: str) -> None:
        if what in self.broken:
            raise self.broken[what]

    def places(self) -> Sequence[Place]:
        return list(self.deployed)

    def releases(self, place: Place) -> Sequence[str]:
        self._ask(f"cluster {place.environment}")
        return list(self.deployed[place])

    def release(self, place: Place, name: str) -> Details | None:
        return self.deployed[place].get(name)

    def pods(self, place: Place) -> Sequence[Pod]:
        self._ask(f"cluster {place.environment}")
        return self.running[place]

    def pod(self, place: Place, name: str) -> Pod | None:
        return next((each for each in self.running[place] if each.name == name), None)

    def release_of(self, place: Place, pod: Pod) -> tuple[tuple[str, str] | None, str]:
        return ((place.namespace, "web"), "annotation of Deployment web") if self.owned else (None, f"pod {pod.name}")

    def chart(self, name: str, version: str) -> str | None:
        return self.published_charts.get(f"{name} {version}")

    def image(self, repository: str, reference: str) -> Image | None:
        self._ask("registry")
        return self.registry.get(reference)

    def tags(self, repository: str) -> Sequence[str]:
        return ["1.0.0-g5e41"]

    def packages(self) -> Sequence[str]:
        return ["el-modelo"]

    def versions(self, name: str) -> Sequence[str]:
        return [wheel.target.split("/")[2] for wheel in self.published if wheel.target.split("/")[1] == name]

    def wheels(self, name: str, version: str) -> Sequence[Artifact]:
        self._ask("artifactory")
        return [wheel for wheel in self.published if wheel.target.split("/")[1:3] == [name, version]]

    def wheels_with(self, properties: Mapping[str, str]) -> Sequence[Artifact]:
        ((name, value),) = properties.items()
        return [each for each in self.published if (of := each.value(name)) and of.startswith(value.rstrip("*"))]

    def inside(self, target: str) -> Inside:
        return self.wheel

    def commit(self, name: str, url: str) -> Commit | None:
        self._ask("git")
        known = {DATA: bool(url), CODE: bool(url), SERVICE: True}
        full = next((each for each in known if known[each] and each.startswith(name)), None)
        return None if full is None else Commit(id=full, date="2026-11-24T12:00:00+00:00", subject="change")

    def sources(self, name: str) -> Sequence[Entry]:
        return self.folders


def chain(graph: Graph, key: str, *, back: bool = False) -> list[str]:
    return [f"{row.node.kind} {row.node.title}" for row in rows(graph, key, back=back) if not row.again]


FROM_THE_IMAGE = [
    "model el-modelo 2.0.0",
    "commit el-modelo c0dec0dec0de",
    "commit data da7ada7ada7a",
    "source fuentes/a.csv",
    "source fuentes/notas/",
    "commit web 5e415e415e41",
]
IMAGE = f"image web@{DIGEST[:19]}"


# ── the whole chain, from every beginning ──


def test_a_pod_is_followed_to_the_sources() -> None:
    graph, key = start.trace(Fake(), "pod", "web-a")
    assert key == "pod prod/web-a"
    assert chain(graph, key) == ["release prod/web", "chart web-chart 1.0.0", IMAGE, *FROM_THE_IMAGE]
    assert graph.exit_code == 0
    assert "pod prod/web-b" not in graph.nodes, "another pod of the same release is not what was asked for"
    model = graph.nodes["model el-modelo==2.0.0"].facts
    assert (model["top1"], model["built by"], model["in run"]) == ("0.93", "el-modelo", "run-7")
    assert graph.nodes["release prod/web"].facts["run"] == "run-9"
    assert all(link.read for link in graph.links)


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("commit", DATA, f"commit {DATA}"),
        ("commit", "DA7A", f"commit {DATA}"),
        ("commit", SERVICE[:9], f"commit {SERVICE}"),
        ("model", "El_Modelo==2.0.0", "model el-modelo==2.0.0"),
        ("image", DIGEST, f"image {DIGEST}"),
        ("image", f"{REPOSITORY}@{DIGEST}", f"image {DIGEST}"),
        ("release", "prod/web", "release prod/web"),
        ("release", "production/web", "release prod/web"),
    ],
)
def test_back_from_anything_to_the_pods_that_run(kind: str, name: str, key: str) -> None:
    graph, found = start.trace(Fake(), kind, name)
    assert found == key
    came = chain(graph, key, back=True)
    assert {"pod prod/web-a", "pod prod/web-b"} <= {*came}
    assert graph.exit_code == 0


def test_what_came_of_other_data_is_not_told() -> None:
    other = "0" * 40
    old = replace(
        WHEEL,
        target=WHEEL.target.replace("2.0.0", "1.0.0"),
        sha256="9" * 64,
        properties={**WHEEL.properties, "lineage.data.revision": [other]},
    )
    graph, key = start.trace(Fake(published=[WHEEL, old]), "commit", other)
    assert chain(graph, key, back=True) == ["model el-modelo 1.0.0"], "published, and runs nowhere"


def test_a_commit_of_which_nothing_came_is_no_error() -> None:
    fake = Fake(deployed={PROD: {}}, running={PROD: []}, published=[])
    graph, key = start.trace(fake, "commit", SERVICE)
    assert (chain(graph, key, back=True), graph.exit_code) == ([], 0)
    console = Console(record=True, width=120)
    table(graph, key, console)
    assert "Nothing that runs or is published came of it." in console.export_text()


ANSWER = {
    "x-request-id": "r-1",
    "served-by": "production/web-a",
    "model-version": "2.0.0",
    "model-digest": SERVED,
    "data-digest": "f" * 64,
}


def test_an_answer_is_followed_to_the_sources() -> None:
    graph, key = start.answer(Fake(), ANSWER, "https://web/")
    assert key == "request r-1"
    assert chain(graph, key)[:4] == ["pod prod/web-a", "release prod/web", "chart web-chart 1.0.0", IMAGE]
    assert {*FROM_THE_IMAGE} <= {*chain(graph, key)}
    assert graph.exit_code == 0


def test_an_answer_whose_pod_is_gone_is_followed_by_its_model() -> None:
    graph, key = start.answer(Fake(), {**ANSWER, "served-by": "production/web-z"}, "saved")
    assert chain(graph, key) == FROM_THE_IMAGE[:5]
    (gap,) = graph.gaps
    assert "web-z, which gave the answer, is in no environment any more" in gap.says


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "no header Served-By"),
        ({"served-by": "../../x"}, "no header Served-By"),
        ({"served-by": "production/web-a"}, "no header Model-Version"),
        ({**ANSWER, "model-digest": f"sha256:{'8' * 64}"}, "is not the model that answered"),
        ({**ANSWER, "model-version": "9.9.9"}, "el-modelo 9.9.9 is not in pypi-local"),
    ],
)
def test_what_an_answer_lacks_is_said(headers: dict[str, str], says: str) -> None:
    graph, _ = start.answer(Fake(), headers, "https://web/")
    assert any(says in gap.says for gap in graph.gaps)
    assert graph.exit_code == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("HTTP/1.1 200 OK\r\nModel-Version: 2\r\nA:b\r\n\r\nbody: no\r\n", {"model-version": "2", "a": "b"}),
        ("HTTP/1.1 302 Found\nA: 1\n\nHTTP/2 200\nB: 2\n", {"b": "2"}),
        ("A: 1\n\nbody\n\nHTTP/1.1 200 OK\nA: 2\n", {"a": "1"}),
        ("Model-Version: 2.0.0", {"model-version": "2.0.0"}),
        ("\n<html>\n", {}),
        ("", {}),
    ],
)
def test_saved_headers_are_read(text: str, found: dict[str, str], tmp_path: Path) -> None:
    assert answers.parse(text) == found
    (tmp_path / "h").write_text(text)
    if found:
        assert answers.read(str(tmp_path / "h"))[0] == found
    else:
        with pytest.raises(ConfigError, match="no headers"):
            answers.read(str(tmp_path / "h"))


# ── each link broken ──


def without(labels: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith(names)}


def wheel(**properties: str) -> Artifact:
    return replace(WHEEL, properties={name.replace("_", "."): [value] for name, value in properties.items()})


def labelled(labels: Mapping[str, str]) -> dict[str, Image]:
    return {DIGEST: Image(digest=DIGEST, labels=labels)}


def released(**changes: Any) -> dict[Place, dict[str, Details]]:
    return {PROD: {"web": replace(RELEASE, **changes)}}


URL = "https://git/data.git"
CHANGED = {**LABELS, "org.opencontainers.image.version": "1.0.0-g5e41-dirty"}
# What is not as it should be, at which node that shows, and what is said.
BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "the wheel was deleted": (
        {"published": []},
        "model el-modelo==2.0.0",
        "el-modelo 2.0.0 is not in pypi-local",
    ),
    "another wheel is in its place": (
        {"published": [replace(WHEEL, sha256="6" * 64)]},
        "model el-modelo==2.0.0",
        f"sha256:{SHA256} is not among them",
    ),
    "the image was deleted, and its pods say nothing": (
        {"registry": {}, "running": {PROD: [pod("web-a", annotations={})]}, "deployed": released(values={})},
        f"image {DIGEST}",
        f"not in {REPOSITORY} any more",
    ),
    "the image has no labels": (
        {"registry": labelled({})},
        f"image {DIGEST}",
        "no label org.opencontainers.image.revision",
    ),
    "the image does not name its model": (
        {"registry": labelled(without(LABELS, "lineage."))},
        f"image {DIGEST}",
        "no label lineage.model.name",
    ),
    "the image was built from changes": (
        {"registry": labelled(CHANGED)},
        f"image {DIGEST}",
        "changes that are in no commit",
    ),
    "the model was trained on changes": (
        {"published": [wheel(vcs_revision=CODE, lineage_data_revision=f"{DATA}-dirty", lineage_data_url=URL)]},
        "model el-modelo==2.0.0",
        "da7ada7ada7a had changes that are in no commit",
    ),
    "neither properties nor wheel name the data": (
        {"published": [wheel(vcs_revision=CODE)], "wheel": Inside(about={"data": {"commit": 7}}, digest="")},
        "model el-modelo==2.0.0",
        "trained on the data is not known",
    ),
    "the data's repository is not known": (
        {"published": [wheel(vcs_revision=CODE, lineage_data_revision=DATA)]},
        f"commit {DATA}",
        "its repository is not",
    ),
    "the data has no sources": ({"folders": ()}, f"commit {DATA}", "no folder of sources"),
    "the release is of someone else": (
        {"deployed": released(description="Upgrade complete")},
        "release prod/web",
        "does not say which run deployed it",
    ),
    "the chart was deleted": (
        {"published_charts": {}},
        "chart web-chart 1.0.0",
        "not in oci://registry:1/helm-local",
    ),
    "the chart names images by tag": (
        {"deployed": released(images=("nginx:1.27",))},
        "release prod/web",
        "nginx:1.27 by a tag",
    ),
    "the pod is of no release": (
        {"owned": False},
        "pod prod/web-a",
        "no annotation meta.helm.sh/release-name",
    ),
    "the pod has no image yet": (
        {"running": {PROD: [pod("web-a", digest="")]}},
        "pod prod/web-a",
        "has no image yet",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_link_is_said_where_it_breaks_with_what_to_do(name: str) -> None:
    changes, key, says = BROKEN[name]
    graph, _ = start.trace(Fake(**{"deployed": {PROD: {"web": RELEASE}}, **changes}), "pod", "prod/web-a")
    (gap,) = [gap for gap in graph.gaps if says in gap.says]
    assert gap.of == key
    assert gap.hint
    assert graph.exit_code == 3
    console = Console(record=True, width=400)
    table(graph, "pod prod/web-a", console)
    assert gap.says in console.export_text()


def test_of_an_image_that_is_gone_the_pods_annotations_tell_the_rest() -> None:
    graph, key = start.trace(Fake(registry={}), "pod", "web-a")
    assert {*FROM_THE_IMAGE} <= {*chain(graph, key)}
    (link,) = [link for link in graph.links if link.origin == f"commit {SERVICE}"]
    assert "annotation org.opencontainers.image.revision of" in link.read
    assert graph.exit_code == 3, "it is missing all the same"


def test_annotations_that_the_release_has_elsewhere_are_heard_all_the_same() -> None:
    for kind, name in (("pod", "prod/web-a"), ("release", "prod/web"), ("commit", SERVICE)):
        graph, _ = start.trace(Fake(registry={}, deployed={TEST: {}, **released(values={})}), kind, name)
        assert f"commit {SERVICE}" in graph.nodes


@pytest.mark.parametrize(("name", "version"), [("../secret", "1"), ("el-modelo", "../1"), ("el-modelo", ""), ("", "1")])
def test_a_label_cannot_lead_out_of_the_repository_of_wheels(name: str, version: str) -> None:
    labels = {**LABELS, "lineage.model.name": name or ".", "lineage.model.version": version}
    fake = Fake(registry=labelled(labels), broken={"artifactory": AssertionError("it must not be asked")})
    graph, _ = start.trace(fake, "pod", "web-a")
    assert graph.exit_code == 3


def test_of_a_wheel_without_properties_its_inside_tells_the_rest() -> None:
    graph, _ = start.trace(Fake(published=[wheel(lineage_data_url="https://git/data.git")]), "pod", "web-a")
    assert graph.exit_code == 0
    reads = {link.read for link in graph.links if link.of.startswith("model ")}
    assert reads == {"linaje.json in el_modelo-2.0.0-py3-none-any.whl"}


def test_a_service_without_a_model_lacks_nothing() -> None:
    plain = Image(digest=DIGEST, labels=without(LABELS, "lineage."))
    graph, key = start.trace(Fake(model=None, registry={DIGEST: plain}), "pod", "web-a")
    assert (chain(graph, key)[-1], graph.exit_code) == (f"commit web {SERVICE[:12]}", 0)


@pytest.mark.parametrize(
    ("what", "error", "code"),
    [
        ("artifactory", InfrastructureError("Artifactory does not answer."), 4),
        ("registry", CredentialError("Artifactory refused the login."), 5),
        ("git", InfrastructureError("git could not fetch."), 4),
    ],
)
def test_a_system_that_cannot_be_asked_is_not_taken_for_a_missing_link(what: str, error: Exception, code: int) -> None:
    graph, _ = start.trace(Fake(broken={what: error}), "pod", "web-a")
    assert str(error) in [gap.says for gap in graph.gaps]
    assert graph.exit_code == code


def test_of_environments_that_do_not_answer_the_others_are_told() -> None:
    fake = Fake(broken={"cluster test": InfrastructureError("the cluster does not answer")})
    graph, key = start.trace(fake, "commit", DATA)
    assert "pod prod/web-a" in chain(graph, key, back=True)
    assert graph.exit_code == 4


# ── what does not exist ──


@pytest.mark.parametrize(
    ("kind", "name", "says", "hint"),
    [
        ("pod", "web-c", "no pod 'web-c' in test, prod. Did you mean 'web-", "web-a, web-b"),
        ("pod", "pord/web-a", "no environment 'pord'. Did you mean 'prod'?", "test, prod"),
        ("pod", None, "Several environments", "test, prod"),
        ("release", "wbe", "Did you mean 'web'?", "web"),
        ("image", "1.0.0-g5e42", "Did you mean '1.0.0-g5e41'?", "1.0.0-g5e41"),
        ("image", f"sha256:{'0' * 64}", "There is no image", "1.0.0-g5e41"),
        ("model", "el-model==2.0.0", "Did you mean 'el-modelo'?", "el-modelo"),
        ("model", "el-modelo==2.0.1", "Did you mean '2.0.0'?", "2.0.0"),
        ("model", "el-modelo", "Which version", "2.0.0"),
        ("commit", "0123456789", "Nothing that runs or is published", DATA[:12]),
        ("commit", "HEAD", "is no commit's id", "digits"),
        ("commit", None, "must be named", "commit"),
    ],
)
def test_what_is_unknown_is_refused_with_the_nearest(kind: str, name: str | None, says: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        start.trace(Fake(), kind, name)
    assert says in raised.value.message
    assert hint in raised.value.hint


def test_a_name_in_two_environments_must_say_which() -> None:
    both = Fake(running={TEST: [pod("web-a")], PROD: [pod("web-a")]})
    with pytest.raises(ConfigError) as raised:
        start.trace(both, "pod", "web-a")
    assert "test/web-a, prod/web-a" in raised.value.hint
    assert start.trace(both, "pod", "test/web-a")[1] == "pod test/web-a"


# ── what the systems answer ──


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kubernetes:
    """A cluster with a ReplicaSet of a Deployment, and a pod operator's own kind."""
    (tmp_path / "config").write_text(
        "{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: 'https://h'}}],"
        " users: [{name: c, user: {}}], contexts: [{name: c, context: {cluster: c, user: c}}]}"
    )
    known = {
        "ReplicaSet": {"ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]},
        "Deployment": {"annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "n"}},
        "Job": {},
    }
    found = Kubernetes(kubeconfig=tmp_path / "config")
    monkeypatch.setattr(found, "metadata", lambda namespace, owner: known.get(owner.kind))
    return found


@pytest.mark.parametrize(
    ("owner", "release", "read"),
    [
        (
            Owner(kind="ReplicaSet", name="web-1"),
            ("n", "web"),
            "annotation meta.helm.sh/release-name of Deployment web",
        ),
        (Owner(kind="Job", name="once"), None, "pod p, Job once"),
        (Owner(kind="Sonderbar", name="x"), None, "pod p, Sonderbar x"),
        (None, None, "pod p"),
    ],
)
def test_the_release_of_a_pod_is_what_its_owners_say(
    cluster: Kubernetes, owner: Owner | None, release: tuple[str, str] | None, read: str
) -> None:
    assert release_of(cluster, replace(pod("p"), owner=owner)) == (release, read)


def test_images_are_those_of_all_containers_of_a_manifest() -> None:
    manifest = """
kind: Deployment
spec: {template: {spec: {initContainers: [{image: a@sha256:1}], containers: [{image: b}, {name: c}]}}}
---
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: 'h:1/d:2'}, {image: b}]}}}}}
---
kind: ConfigMap
data: {containers: "[{image: no}]"}
"""
    assert helm.images(manifest) == ("a@sha256:1", "b", "h:1/d:2")
    assert helm.images("") == ()


def test_a_rollback_is_described_as_what_it_went_back_to() -> None:
    def revision(number: int, description: str) -> helm.Release:
        return helm.Release(
            name="w",
            namespace="n",
            revision=number,
            status="superseded",
            chart="c-1",
            description=description,
            updated=datetime(2026, 1, 1, tzinfo=UTC),
        )

    revisions = [revision(2, "run 2"), revision(3, "bad"), revision(4, "Rollback to 2"), revision(5, "Rollback to 4")]
    assert [helm.described(revisions, number) for number in (2, 5, 6)] == ["run 2", "run 2", ""]
    assert helm.described([revision(9, "Rollback to 1")], 9) == "", "helm has forgotten it"
    assert helm.described([revision(9, "Rollback to 9")], 9) == "Rollback to 9"


def packed(folder: Path, files: Mapping[str, bytes]) -> Path:
    path = folder / "el_modelo-2.0.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_wheel_tells_its_lineage_and_the_digest_that_a_service_tells_of_it(tmp_path: Path) -> None:
    about = json.dumps({"data": {"commit": DATA}}).encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(about).digest()).rstrip(b"=").decode()
    record = f"el_modelo/linaje.json,sha256={digest},{len(about)}\nel_modelo-2.0.0.dist-info/RECORD,,\n".encode()
    files = {"el_modelo/linaje.json": about, "el_modelo-2.0.0.dist-info/RECORD": record}
    inside = read_wheel(packed(tmp_path, files))
    assert inside.about == {"data": {"commit": DATA}}
    expected = hashlib.sha256(f"el_modelo/linaje.json {digest}".encode()).hexdigest()
    assert inside.digest == f"sha256:{expected}"
    assert read_wheel(packed(tmp_path, {"x/__init__.py": b""})) == Inside(about={}, digest="")


@pytest.mark.parametrize(
    "files",
    [
        {"m/linaje.json": b"{"},
        {"m/linaje.json": b"{}"},
        {"m/linaje.json": b" " * (LARGEST + 1), "m-1.dist-info/RECORD": b""},
        {"m/linaje.json": b"\xff", "m-1.dist-info/RECORD": b"\xff"},
    ],
    ids=["no JSON", "no RECORD", "too large", "no UTF-8"],
)
def test_a_wheel_that_is_none_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no wheel that can be read"):
        read_wheel(packed(tmp_path, files))
    (tmp_path / "x.whl").write_bytes(b"no zip")
    with pytest.raises(ConfigError):
        read_wheel(tmp_path / "x.whl")


# ── what the steps write is what is read ──


def step(**inputs: Any) -> Any:
    config = SimpleNamespace(name="web")
    outputs = {"image": {"labels": LABELS}}
    return SimpleNamespace(inputs=SimpleNamespace(**inputs), config=config, outputs=outputs)


def test_an_image_is_labelled_with_the_wheel_that_is_its_model(tmp_path: Path) -> None:
    (tmp_path / "el_modelo-2.0.0-py3-none-any.whl").write_bytes(b"x")
    (tmp_path / "flask-3.0-py3-none-any.whl").write_bytes(b"y")
    (tmp_path / "old-1.0.tar.gz").write_bytes(b"z")
    sha256 = hashlib.sha256(b"x").hexdigest()
    wanted = {"lineage.model.name": "el-modelo", "lineage.model.version": "2.0.0", "lineage.model.sha256": sha256}
    for name in ("el-modelo", "El_Modelo"):
        assert image._model(step(model=name, wheels="requirements.txt"), tmp_path) == wanted
    assert image._model(step(model=None, wheels="requirements.txt"), tmp_path) == {}
    with pytest.raises(ConfigError, match="Did you mean 'el-modelo'"):
        image._model(step(model="el-model", wheels="requirements.txt"), tmp_path)
    with pytest.raises(ConfigError, match="no wheels are brought"):
        image._model(step(model="el-modelo", wheels=None), tmp_path)


def test_a_deployment_repeats_the_labels_where_the_chart_takes_annotations(tmp_path: Path) -> None:
    (file,) = deploy._lineage(step(annotations="pods.annotations"), tmp_path)
    assert yaml.safe_load(file.read_text()) == {"pods": {"annotations": LABELS}}
    assert deploy._lineage(step(annotations=None), tmp_path) == []


def test_the_description_of_a_release_is_read_as_it_was_written() -> None:
    written = DEPLOYED.format(run="20261125-102532-47f5", project="web", version="1.0.0-gabc-dirty")
    told = re.fullmatch(IS_DEPLOYED, written)
    assert told is not None
    assert told.groupdict() == {"run": "20261125-102532-47f5", "project": "web", "version": "1.0.0-gabc-dirty"}


# ── what people look at ──


def test_the_json_of_a_lineage_is_read_back() -> None:
    graph, _ = start.trace(Fake(registry={}), "pod", "web-a")
    again = from_json(json.loads(json.dumps(graph.as_json())))
    assert (again.nodes, again.links, again.gaps) == (graph.nodes, graph.links, graph.gaps)
    assert graph.as_json()["whole"] is False


def test_the_drawing_has_a_box_for_each_thing_and_no_two_in_one_place() -> None:
    graph, key = start.trace(Fake(), "release", "prod/web")
    drawing = draw(graph, key)
    assert len(drawing.boxes) == len(graph.nodes)
    assert len({(box.x, box.y) for box in drawing.boxes}) == len(drawing.boxes)
    depth = {box.kind: box.y for box in drawing.boxes}
    assert depth["pod"] < depth["release"] < depth["image"] == depth["chart"] < depth["model"] < depth["source"]
    assert all(0 <= box.x <= drawing.width - 200 and 0 <= box.y < drawing.height for box in drawing.boxes)
    # the pods' own links to the image go by the release as well
    assert len(drawing.lines) == len({(link.of, link.origin) for link in graph.links}) - 2


def test_many_pods_are_one_box() -> None:
    many = [pod(f"web-{number}") for number in range(40)]
    graph, key = start.trace(Fake(running={TEST: [], PROD: many}), "commit", DATA)
    drawing = draw(graph, key)
    assert "40 pods" in [box.title for box in drawing.boxes]
    assert drawing.width < 1200


HOSTILE = "</title><script>alert(1)</script>"


def test_the_page_of_a_lineage_runs_nothing_that_a_label_says(tmp_path: Path) -> None:
    labels = {**LABELS, "org.opencontainers.image.version": HOSTILE}
    graph, key = start.trace(Fake(registry={DIGEST: Image(digest=DIGEST, labels=labels)}), "pod", "web-a")
    html.write_lineage(graph, key, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    for fetched in ("src=", "@import", "url(http", "<link"):
        assert fetched not in page
