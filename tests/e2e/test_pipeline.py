"""The main job: from source to production on the laboratory, then what goes wrong. The tests build on one another."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import (
    TOOL,
    commit,
    few_tests,
    kubectl,
    ledger,
    outputs,
    platform,
    running_digests,
    statuses,
    tool,
)
from tests.waiting import eventually
from tests.wire import Wire

pytestmark = pytest.mark.e2e


def test_without_an_approval_it_ends_before_production(lab: Path, workspace: Path) -> None:
    service = workspace / "service"
    result = tool(service, "run")
    assert result.returncode == 0, result.stderr[-5000:]
    assert statuses(service) == {
        **dict.fromkeys(("test", "scan", "image", "chart", "deploy-test", "verify-test"), "passed"),
        "deploy-prod": "waiting",
        "verify-prod": "not run",
    }
    assert tool(service, "step", "deploy-prod").returncode == 2, "asked for by name, the missing approval is an error"


def test_with_an_approval_production_runs_what_test_proved(lab: Path, workspace: Path) -> None:
    service = workspace / "service"
    result = tool(service, "run", "--approve")
    assert result.returncode == 0, result.stderr[-5000:]
    ended = statuses(service)
    assert ended["deploy-prod"] == ended["verify-prod"] == "passed"
    assert ended["image"] == ended["deploy-test"] == "unchanged"
    built = outputs(service, "image")["digest"]
    assert running_digests(lab, "test") == running_digests(lab, "prod") == {built}
    for environment in ("test", "prod"):
        url = outputs(service, f"verify-{environment}")["url"]
        with urllib.request.urlopen(f"{url}/api/v1/status", timeout=5) as answer:
            assert answer.read() == b"OK"
    enforced = kubectl(lab, "get", "namespace", "prod", "--output", "jsonpath={.metadata.labels}")
    assert '"pod-security.kubernetes.io/enforce":"restricted"' in enforced


def test_again_nothing_is_repeated_but_the_proof(lab: Path, workspace: Path) -> None:
    service = workspace / "service"
    assert tool(service, "run", "--approve").returncode == 0
    ended = statuses(service)
    assert {name for name, status in ended.items() if status == "passed"} == {"verify-test", "verify-prod"}


def test_a_chart_is_published_once(lab: Path, workspace: Path) -> None:
    service = workspace / "service"
    before = outputs(service, "chart")
    assert tool(service, "step", "chart", "--force").returncode == 0
    assert statuses(service)["chart"] == "passed"
    assert outputs(service, "chart") == before, "helm itself makes another archive of it each time"


def test_the_analysis_is_in_sonarqube_with_coverage_and_tests(lab: Path, workspace: Path) -> None:
    sonar = platform()["sonarqube"]
    token = Path(sonar["token"].removeprefix("file:")).read_text().strip()
    url = f"{sonar['url']}/api/measures/component?component=clasificador&metricKeys=coverage,tests,alert_status"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        measures = {m["metric"]: m["value"] for m in json.load(answer)["component"]["measures"]}
    assert float(measures["coverage"]) > 85
    assert int(measures["tests"]) > 0
    assert measures["alert_status"] == "OK"


def test_a_changed_line_of_the_service_repeats_only_what_depends_on_it(lab: Path, workspace: Path) -> None:
    source = next((workspace / "service").rglob("servicio/__init__.py"))
    source.write_text(source.read_text() + "\n# changed\n")
    commit(workspace)
    assert tool(workspace / "service", "run", "--environment", "test").returncode == 0
    ended = statuses(workspace / "service")
    assert ended["chart"] == "unchanged"
    assert ended["test"] == ended["scan"] == ended["image"] == ended["deploy-test"] == "passed"


@pytest.fixture(scope="module")
def quick(workspace: Path) -> Path:
    """The same repository, from here on with few of the service's tests."""
    few_tests(workspace)
    return workspace


def test_an_image_that_does_not_start_is_explained_and_put_back(lab: Path, quick: Path) -> None:
    service = quick / "service"
    before = running_digests(lab, "test")
    dockerfile = service / "Dockerfile"
    original = dockerfile.read_text()
    dockerfile.write_text(
        original + '\nENTRYPOINT []\nCMD ["python3", "-c", "import sys; sys.exit(\'no-model-here\')"]\n'
    )
    commit(quick)
    only = ("--environment", "test", "--set", "test.enabled=false", "--set", "scan.enabled=false")
    result = tool(service, "run", *only, "--set", "deploy.timeout=25s")
    assert result.returncode == 6, result.stderr[-5000:]
    error = ledger(service, "error.json")
    assert error["class"] == "deployment"
    assert "was put back to revision" in error["message"]
    assert "no-model-here" in error["details"], "the pod's last words"
    eventually(lambda: running_digests(lab, "test") == before, 90, pause=1)
    dockerfile.write_text(original)
    commit(quick)
    assert tool(service, "run", *only).returncode == 0


@pytest.mark.parametrize("step", ["test", "scan", "image", "chart", "deploy-test"])
def test_an_interrupt_leaves_a_truthful_ledger_and_the_next_run_goes_on(lab: Path, quick: Path, step: str) -> None:
    service = quick / "service"
    # Every kind of step is started afresh, interrupted a moment later, and then repeated.
    argv = [*TOOL, "step", step, "--force"]
    with subprocess.Popen(argv, cwd=service, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("▶"):
                break
        time.sleep(1.0 if step in ("scan", "deploy-test") else 0.2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=90)
    if process.returncode != 0:  # a quick step may have been done by then
        assert process.returncode == 130
        assert statuses(service)[step] == "interrupted"
    namespaces = ("scan", "test") if step in ("scan", "deploy-test") else ()
    for namespace in namespaces:
        words = ("get", "pods,secrets", "--selector", "app.kubernetes.io/managed-by=pipeline-tools,!helm")
        left = kubectl(lab, "--namespace", namespace, *words, "--output", "name")
        assert "clasificador-scan" not in left, left
    assert tool(service, "run", "--environment", "test").returncode == 0


def changed_platform(folder: Path, change: Callable[[Any], None]) -> str:
    """The laboratory's platform file with a change."""
    changed = platform()
    change(changed)
    (folder / "platform.yml").write_text(yaml.safe_dump(changed))
    return str(folder / "platform.yml")


def test_an_artifactory_that_is_gone_or_refuses_the_user(lab: Path, quick: Path, tmp_path: Path) -> None:
    def gone(platform: Any) -> None:
        platform["artifactory"].update(url="http://127.0.0.1:9/artifactory", docker="127.0.0.1:9/docker-local")

    def refused(platform: Any) -> None:
        (tmp_path / "wrong").write_text("wrong-password")
        platform["artifactory"]["password"] = f"file:{tmp_path / 'wrong'}"

    service = quick / "service"
    for change, code, kind in ((gone, 4, "infrastructure"), (refused, 5, "credentials")):
        result = tool(service, "step", "image", "--force", "--platform", changed_platform(tmp_path, change))
        assert result.returncode == code, result.stderr[-5000:]
        error = ledger(service, "error.json")
        assert (error["class"], error["step"]) == (kind, "image")
        assert error["hint"]
        assert statuses(service)["image"] == "failed"
    assert tool(service, "run", "--environment", "test").returncode == 0


def test_the_cluster_goes_away_in_the_middle_of_a_deployment(lab: Path, quick: Path, tmp_path: Path) -> None:
    service = quick / "service"
    kubeconfig = yaml.safe_load(Path(platform()["kubernetes"]["kubeconfig"]).read_text())
    address = urllib.parse.urlsplit(kubeconfig["clusters"][0]["cluster"]["server"])
    wire = Wire(str(address.hostname), int(address.port or 443))
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))

    def through_the_wire(platform: Any) -> None:
        platform["kubernetes"]["kubeconfig"] = str(tmp_path / "kubeconfig")
        platform["environments"]["test"]["deploy"]["settings"]["terminationGracePeriodSeconds"] = "29"  # new pods

    def pending() -> set[str]:
        words = ("get", "secrets", "--selector", "owner=helm,status=pending-upgrade", "--output", "name")
        return set(kubectl(lab, "--namespace", "test", *words).split())

    before = pending()  # revisions that were cut off stay in helm's history
    argv = [*TOOL, "step", "deploy-test", "--platform", changed_platform(tmp_path, through_the_wire)]
    with subprocess.Popen(argv, cwd=service, stderr=subprocess.PIPE, text=True) as process:
        eventually(lambda: pending() - before, 90, pause=1)
        wire.cut()
        _, said = process.communicate(timeout=180)
    assert process.returncode == 4, said
    assert "stopped answering" in ledger(service, "error.json")["details"], "it was tried again: the first attempt's"
    assert statuses(service)["deploy-test"] == "failed"

    result = tool(service, "run", "--environment", "test")
    assert result.returncode == 0, result.stderr[-5000:]
    assert "was cut off (pending-upgrade): putting it back" in result.stderr


def test_no_credential_of_the_laboratory_is_in_what_the_runs_left(lab: Path, workspace: Path) -> None:
    secrets = {
        file.read_text().strip().encode()
        for file in (lab / "credentials").iterdir()
        if file.is_file() and ("password" in file.name or "token" in file.name)
    }
    assert secrets
    looked = [file for file in (workspace / "service/.pipeline").rglob("*") if file.is_file()]
    assert looked
    for file in looked:
        content = file.read_bytes()
        assert not any(secret in content for secret in secrets), file
    docker = ["docker", "--host", platform()["docker"]["host"]]
    listed = ["image", "ls", "--quiet", "--filter", "label=org.opencontainers.image.title=clasificador"]
    images = subprocess.run([*docker, *listed], check=True, capture_output=True, text=True).stdout.split()
    assert images
    for image in images:
        for words in (["history", "--no-trunc", image], ["image", "inspect", image]):
            said = subprocess.run([*docker, *words], check=True, capture_output=True).stdout
            assert not any(secret in said for secret in secrets)
