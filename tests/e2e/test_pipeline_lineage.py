"""Where what runs in production came from, and back: on the release that the other tests of the pipeline left."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import yaml

from pipeline_tools import process
from tests.e2e.conftest import kubectl, platform, tool

pytestmark = pytest.mark.e2e

KINDS = {"pod", "release", "chart", "image", "model", "commit", "source"}


@pytest.fixture(scope="module")
def service(lab: Path, workspace: Path) -> Path:
    """The service's project, delivered to production."""
    folder = workspace / "service"
    if not (folder / ".pipeline/passed/verify-prod.json").is_file():
        result = tool(folder, "run", "--approve")
        assert result.returncode == 0, result.stderr[-5000:]
    return folder


def asked() -> Path:
    """The project in which is asked: the service's clone, whose server has the model's and the data's commits too."""
    return Path(os.environ["PIPELINE_TOOLS_LAB_DIR"], "projects/service/service")


def lineage(*words: str, code: int = 0) -> Any:
    """What the command tells."""
    result = tool(asked(), "lineage", *words, "--json")
    assert result.returncode == code, result.stdout[-3000:] + result.stderr[-3000:]
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def production(service: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a pod of production came from, and the page of it."""
    page = tmp_path_factory.mktemp("lineage") / "page.html"
    return {**lineage("pod", "--environment", "prod", "--html", str(page)), "page": page.read_text()}


def of_kind(found: Any, kind: str) -> list[Any]:
    return [node for node in found["nodes"] if node["kind"] == kind]


def pods(lab: Path, namespace: str) -> set[str]:
    listed = json.loads(kubectl(lab, "--namespace", namespace, "get", "pods", "--output", "json"))["items"]
    return {f"{namespace}/{pod['metadata']['name']}" for pod in listed if "deletionTimestamp" not in pod["metadata"]}


def wheel(production: Any) -> tuple[str, tuple[str, str], tuple[str, str]]:
    """Address of the model's wheel, the user that reads, and the one that may delete."""
    settings = platform()["artifactory"]
    (node,) = of_kind(production, "model")
    credentials = Path(settings["password"].removeprefix("file:")).parent

    def user(name: str, file: str) -> tuple[str, str]:
        return name, (credentials / file).read_text().strip()

    url = f"{settings['url']}/{node['facts']['file']}"
    return url, user("ci", "artifactory-password"), user("admin", "artifactory-admin-password")


def test_a_pod_of_production_is_followed_to_the_sources_of_its_data(
    lab: Path, service: Path, production: Any, tmp_path: Path
) -> None:
    found = production
    assert {node["kind"] for node in found["nodes"]} == KINDS
    assert found["start"].removeprefix("pod ") in pods(lab, "prod")
    assert found["whole"]
    ((image,), (release,)) = of_kind(found, "image"), of_kind(found, "release")
    running = kubectl(lab, "--namespace", "prod", "get", "pods", "--output", "jsonpath={.items[*].status..imageID}")
    assert image["id"] in running
    passed = json.loads((service / ".pipeline/passed/deploy-prod.json").read_text())
    assert release["facts"]["run"] == passed["run"]

    # what the wheel itself says, asked without any of the code that is tested
    url, reader, _ = wheel(production)
    content = requests.get(url, auth=reader, timeout=30).content
    (tmp_path / "model.whl").write_bytes(content)
    inside = process.run(["unzip", "-p", tmp_path / "model.whl", "*/linaje.json"], timeout=30).stdout
    about = json.loads(inside)
    commits = {node["id"] for node in of_kind(found, "commit")}
    assert {about["data"]["commit"], about["code"]["commit"]} <= commits
    assert len(commits) == 3
    sources = {Path(node["title"]).name for node in of_kind(found, "source")}
    assert {"siniestros.csv", "formulario.jsonl", "notas"} <= sources
    assert "<svg" in found["page"] and "siniestros.csv" in found["page"]


def test_what_runs_that_came_from_this_data(lab: Path, production: Any) -> None:
    commits = of_kind(production, "commit")
    (data,) = [node["id"] for node in commits if node["title"].startswith("data ")]
    found = lineage("commit", data[:10])
    assert found["start"] == f"commit {data}"
    assert {node["id"] for node in of_kind(found, "pod")} == pods(lab, "test") | pods(lab, "prod")


def test_an_answer_of_production_is_followed_now_and_when_it_was_saved(
    lab: Path, service: Path, tmp_path: Path
) -> None:
    url = f"{platform()['environments']['prod']['verify']['url']}/api/v1/modelo?texto=ba%C3%B1era"
    found = lineage("request", url)
    assert {node["kind"] for node in found["nodes"]} == KINDS | {"request"}
    (pod,) = of_kind(found, "pod")
    assert pod["id"] in pods(lab, "prod")

    with urllib.request.urlopen(url, timeout=10) as answer:
        served = answer.headers["Served-By"].partition("/")[2]
        (tmp_path / "saved").write_text(f"HTTP/1.1 200 OK\r\n{answer.headers}")
    kubectl(lab, "--namespace", "prod", "delete", "pod", served)
    later = lineage("request", str(tmp_path / "saved"), code=3)
    assert any(served in gap["says"] for gap in later["missing"])
    assert of_kind(later, "source"), "the model that answered is known all the same"


def test_the_run_left_the_lineage_in_its_report(service: Path) -> None:
    for environment in ("test", "prod"):
        passed = json.loads((service / f".pipeline/passed/verify-{environment}.json").read_text())
        folder = service / ".pipeline/runs" / passed["run"]
        assert (folder / f"steps/verify-{environment}/lineage.json").is_file()
        assert f"<small>verify-{environment}</small>" in (folder / "report.html").read_text()


def test_a_wheel_that_was_deleted_is_said_and_back_the_chain_is_whole(production: Any) -> None:
    url, reader, admin = wheel(production)
    content = requests.get(url, auth=reader, timeout=30).content
    target = url.partition("/artifactory/")[2]
    storage = url.replace("/artifactory/", "/artifactory/api/storage/", 1)
    properties = requests.get(storage, params={"properties": ""}, auth=reader, timeout=30).json()["properties"]
    assert requests.delete(url, auth=admin, timeout=30).status_code == 204
    try:
        found = lineage("pod", "--environment", "prod", code=3)
    finally:
        matrix = "".join(f";{name}={quote(of[0], safe='')}" for name, of in properties.items())
        assert requests.put(url + matrix, data=content, auth=reader, timeout=30).status_code == 201
    (gap,) = found["missing"]
    (model,) = of_kind(found, "model")
    assert gap["of"] == model["key"]
    assert f"is not in {target.partition('/')[0]}" in gap["says"]
    assert {node["kind"] for node in found["nodes"]} == KINDS - {"source"}
    assert lineage("pod", "--environment", "prod")["whole"]


def test_a_pod_of_no_release_is_followed_by_its_image(lab: Path, production: Any) -> None:
    (image,) = of_kind(production, "image")
    container = {
        "name": "bare",
        "image": f"{image['facts']['repository']}@{image['id']}",
        "command": ["sleep", "600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    apply(lab, {**POD, "metadata": {"name": "bare"}, "spec": {**POD_SPEC, "containers": [container]}})
    try:
        kubectl(lab, "--namespace", "test", "wait", "--for=condition=Ready", "--timeout=60s", "pod/bare")
        found = lineage("pod", "test/bare", code=3)
    finally:
        kubectl(lab, "--namespace", "test", "delete", "pod", "bare", "--grace-period=0", "--force")
    (gap,) = found["missing"]
    assert gap["of"] == "pod test/bare"
    assert "no annotation meta.helm.sh/release-name" in gap["says"]
    assert {node["kind"] for node in found["nodes"]} == KINDS - {"release", "chart"}


POD_SPEC: dict[str, Any] = {
    "imagePullSecrets": [{"name": "clasificador-pull"}],
    "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
    "terminationGracePeriodSeconds": 0,
}
POD: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod"}


def apply(lab: Path, manifest: Any) -> None:
    argv = ["kubectl", "--kubeconfig", str(lab / "credentials/kubeconfig"), "--namespace", "test", "apply", "-f", "-"]
    process.run(argv, timeout=60, stdin=yaml.safe_dump(manifest).encode())


@pytest.fixture
def foreign(lab: Path, tmp_path: Path) -> Iterator[None]:
    """A release that someone else installed: a chart that nobody published, an image that says nothing of itself."""
    settings = platform()
    image = f"{settings['artifactory']['docker']}/plain:1"
    docker: list[str | Path] = ["docker", "--config", tmp_path, "--host", settings["docker"]["host"]]
    password = Path(settings["artifactory"]["password"].removeprefix("file:")).read_bytes().strip()
    login = ["login", "--username", "ci", "--password-stdin", image.partition("/")[0]]
    process.run([*docker, *login], timeout=60, stdin=password)
    process.run([*docker, "tag", settings["image"]["build_args"]["BASE_IMAGE"], image], timeout=60)
    digest = process.run([*docker, "push", image], timeout=300).stdout.rpartition("digest: ")[2].split()[0]
    container = {
        "name": "plain",
        "image": f"{image.removesuffix(':1')}@{digest}",
        "command": ["sleep", "600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    labels = {"metadata": {"labels": {"app": "foreign"}}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "foreign"},
        "spec": {
            "selector": {"matchLabels": {"app": "foreign"}},
            "template": {**labels, "spec": {**POD_SPEC, "containers": [container]}},
        },
    }
    chart = tmp_path / "foreign"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: foreign\nversion: 9.9.9\n")
    (chart / "templates/deployment.yaml").write_text(yaml.safe_dump(deployment))
    helm = ["helm", "--kubeconfig", str(lab / "credentials/kubeconfig"), "--namespace", "test"]
    process.run([*helm, "install", "foreign", chart, "--wait", "--timeout", "90s"], timeout=120)
    yield
    process.run([*helm, "uninstall", "foreign"], timeout=60)


def test_of_a_release_of_another_chart_all_that_is_missing_is_said(lab: Path, service: Path, foreign: None) -> None:
    found = lineage("release", "test/foreign", code=3)
    assert {node["kind"] for node in found["nodes"]} == {"pod", "release", "chart", "image"}
    said = {gap["of"].partition(" ")[0]: gap["says"] for gap in found["missing"]}
    assert "which run deployed it" in said["release"]
    assert "foreign 9.9.9 is not in oci://" in said["chart"]
    assert "no label org.opencontainers.image.revision" in said["image"]
    assert lineage("pod", "--environment", "prod")["whole"], "what is missing elsewhere is not missing here"


def test_what_is_not_there_is_refused_with_the_nearest_and_a_cluster_that_is_gone_is_not_a_missing_link(
    production: Any, tmp_path: Path
) -> None:
    refused = tool(asked(), "lineage", "release", "prod/clasificado")
    assert (refused.returncode, "Did you mean 'clasificador'?" in refused.stderr) == (2, True)
    broken = platform()
    kubeconfig = yaml.safe_load(Path(broken["kubernetes"]["kubeconfig"]).read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    broken["kubernetes"]["kubeconfig"] = str(tmp_path / "kubeconfig")
    (tmp_path / "platform.yml").write_text(yaml.safe_dump(broken))
    (model,) = of_kind(production, "model")
    words = ("lineage", "model", model["id"], "--platform", str(tmp_path / "platform.yml"))
    gone = tool(asked(), *words)
    assert gone.returncode == 4, gone.stderr
    assert "data" in gone.stdout, "what does not need the cluster is told"
    assert "does not answer" in gone.stdout


def test_the_table_is_for_people(service: Path) -> None:
    argv = ["lineage", "pod", "--environment", "prod"]
    shown = tool(asked(), *argv)
    assert shown.returncode == 0
    for word in ("It came from", "clasificador-modelo", "trained on the data", "siniestros.csv", "property"):
        assert word in shown.stdout
