"""The scan of small real projects by the laboratory's SonarQube, cluster and registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pipeline_tools.systems.kubernetes import Kubernetes
from tests.waiting import eventually

LAB = Path(os.environ.get("PIPELINE_TOOLS_LAB_DIR", "~/.cache/pipeline-tools/labs/default")).expanduser()
SELECTOR = "app.kubernetes.io/managed-by=pipeline-tools,pipeline-tools/session"
GOOD = '"""Doubling."""\n\n\ndef double(x: int) -> int:\n    """Twice x."""\n    return 2 * x\n'
# SonarQube's rule S930, a blocker: the call has an argument too many. Half of the lines are not tested.
BAD = GOOD + "\n\ndef broken() -> int:\n    a = double(1, 2)\n    b = a + 1\n    c = b + a\n    return c\n"
TEST = "from app.main import double\n\n\ndef test_double() -> None:\n    assert double(2) == 4\n"


@pytest.fixture(scope="module")
def platform() -> Any:
    """The laboratory's platform file."""
    file = LAB / "platform.yml"
    if not file.is_file():
        pytest.fail(f"there is no {file}: start the laboratory with `make lab-up`")
    return yaml.safe_load(file.read_text())


@pytest.fixture(scope="module")
def cluster(platform: Any) -> Kubernetes:
    return Kubernetes(kubeconfig=platform["kubernetes"]["kubeconfig"], context=platform["kubernetes"].get("context"))


@pytest.fixture(scope="module")
def token(platform: Any) -> str:
    return Path(platform["sonarqube"]["token"].removeprefix("file:")).read_text().strip()


@pytest.fixture
def project(tmp_path: Path, platform: Any, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A committed project with a name of its own, which is deleted from SonarQube afterwards."""
    name = f"scan-{abs(hash(request.node.name)) % 10**8}"
    folder = tmp_path / "project"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")  # makes pytest name the tests relative to this folder
    (folder / "app").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "app/__init__.py").write_text("")
    (folder / "app/main.py").write_text(GOOD)
    (folder / "tests/test_main.py").write_text(TEST)
    (folder / "conftest.py").write_text("")
    (folder / "pipeline.yml").write_text(f"kind: library\nname: {name}\nversion: 1.2.3\ntest: {{package: [app]}}\n")
    (folder / "untracked.py").write_text("import os\n")
    git(folder, "init", "--quiet", "--initial-branch=develop")
    git(folder, "add", "app", "tests", "conftest.py", "pipeline.yml")
    git(folder, "commit", "--quiet", "--message", "first")
    yield folder
    sonarqube(platform, "POST", "projects/delete", project=name)


def sonarqube(platform: Any, method: str, path: str, **parameters: str) -> requests.Response:
    """Call SonarQube's Web API as its administrator."""
    auth = ("admin", (LAB / "credentials/sonar-admin-password").read_text().strip())
    return requests.request(
        method, f"{platform['sonarqube']['url']}/api/{path}", params=parameters, auth=auth, timeout=30
    )


def name_of(project: Path) -> str:
    name: str = yaml.safe_load((project / "pipeline.yml").read_text())["name"]
    return name


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def command(project: Path, *words: str) -> list[str]:
    platform = str(LAB / "platform.yml")
    return [sys.executable, "-m", "pipeline_tools", "run", "--project", str(project), "--platform", platform, *words]


def scan(project: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(project, *words),
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def ledger(project: Path, name: str) -> Any:
    return json.loads((project / ".pipeline/latest" / name).read_text())


def objects(cluster: Kubernetes, namespace: str, start: str) -> list[str]:
    """The names of the pods and Secrets of sessions that begin so; other projects may be at work as well."""
    found = []
    for listing in (cluster.core.list_namespaced_pod, cluster.core.list_namespaced_secret):
        items = cluster.call("list", listing, namespace, label_selector=SELECTOR)["items"]
        found += [item["metadata"]["name"] for item in items]
    return [name for name in found if name.startswith(start)]


class Watch:
    """Everything that the cluster shows of pods and events in a namespace while the block runs."""

    def __init__(self, cluster: Kubernetes, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.seen = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        core = self.cluster.core
        while not self._stop.wait(0.3):
            for listing in (core.list_namespaced_pod, core.list_namespaced_event):
                self.seen += json.dumps(self.cluster.call("list", listing, self.namespace))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()


def test_a_good_project_is_green_and_the_token_is_nowhere(
    project: Path, platform: Any, cluster: Kubernetes, token: str
) -> None:
    namespace = platform["scan"]["namespace"]
    with Watch(cluster, namespace) as watch:
        first = scan(project)
    assert first.returncode == 0, first.stdout + first.stderr
    outputs = ledger(project, "steps/scan/outputs.json")
    assert outputs["gate"] == "OK"
    assert outputs["measures"]["coverage"] == 100.0
    assert outputs["measures"]["tests"] == 1
    assert outputs["measures"]["ncloc"] == 2, "only what git tracks was analysed, and no report"
    assert objects(cluster, namespace, name_of(project)) == []

    key = outputs["project_key"]
    (analysis,) = sonarqube(platform, "GET", "project_analyses/search", project=key).json()["analyses"]
    assert analysis["key"] == outputs["analysis"]
    assert analysis["revision"] == git(project, "rev-parse", "HEAD")
    assert analysis["projectVersion"] == "1.2.3"
    assert analysis["buildString"].startswith("1.2.3-g")
    assert requests.get(outputs["dashboard"], timeout=30).status_code == 200

    assert f"{key}-scan-" in watch.seen
    assert token not in watch.seen
    assert token not in first.stdout + first.stderr
    for file in (project / ".pipeline").rglob("*"):
        assert not file.is_file() or token not in file.read_text(errors="replace"), file

    scan(project)
    assert [step["status"] for step in ledger(project, "run.json")["steps"]] == ["unchanged", "unchanged"]


def test_a_bad_project_is_red_with_each_condition_and_its_report(
    project: Path, platform: Any, cluster: Kubernetes
) -> None:
    (project / "app/main.py").write_text(BAD)
    git(project, "commit", "--quiet", "--all", "--message", "break it")
    result = scan(project)
    assert result.returncode == 3, result.stdout + result.stderr
    error = ledger(project, "error.json")
    assert (error["class"], error["step"]) == ("quality", "scan")
    assert "coverage is" in error["details"]
    assert "must be at least 80" in error["details"]
    assert "software_quality_blocker_issues is 1, but must be at most 0" in error["details"]
    assert error["link"].startswith(platform["sonarqube"]["url"])
    gate = ledger(project, "steps/scan/gate.json")
    assert gate["gate"] == "ERROR"
    assert gate["measures"]["coverage"] < 80
    assert objects(cluster, platform["scan"]["namespace"], name_of(project)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_deletes_pod_and_secret(
    project: Path, platform: Any, cluster: Kubernetes, number: signal.Signals
) -> None:
    namespace = platform["scan"]["namespace"]

    def running() -> bool:
        pods = [pod for pod in cluster.pods(namespace, SELECTOR) if pod.name.startswith(name_of(project))]
        return any(container.state == "running" for pod in pods for container in pod.containers)

    with subprocess.Popen(command(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        eventually(running, pause=0.1)
        begun = time.monotonic()
        process.send_signal(number)
        process.send_signal(number)  # an impatient user presses twice
        assert process.wait(30) == 130
        assert time.monotonic() - begun < 10
    assert objects(cluster, namespace, name_of(project)) == []
    assert ledger(project, "error.json")["class"] == "interrupted"


def test_a_wrong_token_is_a_credential_error_before_anything_is_made(
    project: Path, platform: Any, cluster: Kubernetes
) -> None:
    result = scan(project, "--set", "sonarqube.token=env:WRONG", WRONG="squ_0123456789abcdef0123456789abcdef01234567")
    assert result.returncode == 5
    error = ledger(project, "error.json")
    assert "does not accept the token" in error["message"]
    assert "squ_" not in result.stdout + result.stderr
    assert objects(cluster, platform["scan"]["namespace"], name_of(project)) == []


def test_a_server_that_is_not_there_is_an_infrastructure_error(project: Path) -> None:
    result = scan(project, "--set", "sonarqube.url=http://127.0.0.1:9")
    assert result.returncode == 4
    assert "cannot be reached" in ledger(project, "error.json")["message"]


def test_a_pod_that_cannot_reach_the_server_says_which_address_it_used(project: Path) -> None:
    result = scan(project, "--set", "scan.server_url_in_pod=http://127.0.0.1:9")
    assert result.returncode == 4, result.stdout
    assert "scan.server_url_in_pod" in ledger(project, "error.json")["hint"]


def test_a_namespace_that_does_not_exist_is_a_configuration_error(project: Path) -> None:
    result = scan(project, "--set", "scan.namespace=nowhere")
    assert result.returncode == 2
    assert 'namespaces "nowhere" not found' in ledger(project, "error.json")["message"]
