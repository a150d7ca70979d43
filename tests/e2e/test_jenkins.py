"""The repository's own Jenkinsfile on the laboratory, from Groovy to PROD, and what goes wrong.

Jenkins itself is not to be had here: `tests/groovy` runs the Jenkinsfile in Jenkins' own interpreter, restarted at each
step, with steps that do what Jenkins' do: real shells, credentials bound, agents that come and go.
"""

from __future__ import annotations

import json
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import (
    CHECKOUT,
    commit,
    few_tests,
    kubectl,
    own_environments,
    platform,
    running_digests,
)
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

NAME = "taller"
HARNESS = CHECKOUT / "tests/groovy"
JENKINSFILE = (CHECKOUT / "Jenkinsfile").read_text()
# Groovy 2.4 reflects into the JDK.
OPENED = [
    word
    for package in ("lang", "util", "io", "lang.reflect", "net")
    for word in ("--add-opens", f"java.base/java.{package}=ALL-UNNAMED")
]
OURS = ("get", "pods,secrets", "--namespace", "scan", "--selector", "app.kubernetes.io/managed-by=pipeline-tools")


@pytest.fixture(scope="module", autouse=True)
def environments(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """TEST and PROD of these tests' own."""
    with own_environments(lab, "jenkins", (3, 4), tmp_path_factory.mktemp("environments")):
        yield


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs one build."""
    maven = ["mvn", "--batch-mode", "--quiet", "--file", str(HARNESS / "pom.xml")]
    listed = tmp_path_factory.mktemp("harness") / "classpath"
    goals = ["test-compile", "dependency:build-classpath", f"-Dmdep.outputFile={listed}"]
    subprocess.run([*maven, *goals], check=True, capture_output=True, timeout=600)
    classpath = f"{HARNESS / 'target/test-classes'}:{listed.read_text().strip()}"
    return ["java", *OPENED, "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "jenkins.Main"]


@pytest.fixture(scope="module")
def repository(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service's repository, with changes that are these tests' own; under a name of its own."""
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "clone", "--quiet", str(workspace), str(folder)], check=True)
    subprocess.run(["git", "checkout", "--quiet", "-B", "jenkins"], cwd=folder, check=True)
    file = folder / "service/pipeline.yml"
    file.write_text(file.read_text().replace("name: clasificador\n", f"name: {NAME}\n"))
    commit(folder)
    return folder


def secrets_of(lab: Path) -> dict[str, str]:
    """What must be seen nowhere."""
    names = ("artifactory-password", "sonar-token")
    found = {name: (lab / "credentials" / name).read_text().strip() for name in names}
    kubeconfig = yaml.safe_load((lab / "credentials/kubeconfig").read_text())
    user = kubeconfig["users"][0]["user"]
    return found | {key: str(value) for key, value in user.items() if key.endswith("-key-data") or key == "token"}


class Canary:
    """Looks at the command lines and environments of all processes while a build runs."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values
        self.found: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Canary:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.2):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = entry.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                self.found |= {f"{name} in {words[:80]}" for name, value in self.values.items() if value in words}


class Jenkins:
    """Builds of the repository's Jenkinsfile, one after the other, as one job has them."""

    def __init__(self, lab: Path, java: list[str], repository: Path, folder: Path) -> None:
        self.lab = lab
        self.java = java
        self.repository = repository
        self.folder = folder
        self.number = 0
        self.branch = f"try-{uuid.uuid4().hex[:8]}"  # a ledger of its own in Artifactory
        self.seen: set[str] = set()

    def platform(self) -> str:
        """The laboratory's platform file as a company has it: credentials come from Jenkins."""
        values = platform()
        values["artifactory"] |= {"username": "env:ARTIFACTORY_USER", "password": "env:ARTIFACTORY_PASSWORD"}
        values["sonarqube"]["token"] = "env:SONAR_TOKEN"
        del values["kubernetes"]["kubeconfig"]
        values["run"] = {"ledger": "artifactory"}
        values["jenkins"] = {
            "credentials": {"kubeconfig": "the-cluster"},
            "approval_timeout": "10m",
            "deploy_from": ["try-*"],
        }
        values["environments"]["prod"]["approvers"] = ["ana"]
        return yaml.safe_dump(values)

    def credentials(self) -> dict[str, dict[str, str]]:
        """The store of credentials."""

        def read(name: str) -> str:
            return (self.lab / "credentials" / name).read_text().strip()

        password = {"username": read("artifactory-user"), "password": read("artifactory-password")}
        return {
            "artifactory": {"type": "username-password", **password},
            "sonarqube-token": {"type": "secret-text", "secret": read("sonar-token")},
            "the-cluster": {"type": "file", "content": read("kubeconfig")},
        }

    def build(self, *, accidents: list[dict[str, str]] | None = None, **more: Any) -> dict[str, Any]:
        """Run the Jenkinsfile on what the repository has now; returns what came of it."""
        self.number += 1
        home = self.folder / "job"
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=self.repository, check=True, capture_output=True, text=True
        )
        request: dict[str, Any] = {
            "jenkinsfile": JENKINSFILE,
            "library": str(CHECKOUT),
            "home": str(home),
            "number": self.number,
            "jobEnv": {"BRANCH_NAME": self.branch},
            "scm": {"url": str(self.repository), "commit": head.stdout.strip()},
            "resources": {"platform.yml": self.platform()},
            "credentials": self.credentials(),
            "agentEnv": {"PATH": f"{CHECKOUT / '.venv/bin'}:{self.lab / 'bin'}:/usr/local/bin:/usr/bin:/bin"},
            "accidents": accidents or [],
            **more,
        }
        asked, told = self.folder / "request.json", self.folder / "result.json"
        asked.write_text(json.dumps(request))
        with Canary(secrets_of(self.lab)) as canary:
            done = subprocess.run(
                [*self.java, str(asked), str(told)], capture_output=True, text=True, timeout=900, check=False
            )
        asked.unlink()
        assert done.returncode == 0, done.stderr[-3000:]
        self.seen |= canary.found
        result: dict[str, Any] = json.loads(told.read_text())
        printed = result["unmasked"]  # before Jenkins masked it
        self.seen |= {f"{name} was printed" for name, value in canary.values.items() if value in printed}
        result["log"] = (home / "log").read_text()
        return result


@pytest.fixture(scope="module")
def jenkins(lab: Path, java: list[str], repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Jenkins:
    """A job of the repository."""
    return Jenkins(lab, java, repository, tmp_path_factory.mktemp("jenkins"))


@pytest.fixture(scope="module")
def quick(jenkins: Jenkins) -> Jenkins:
    """The job, with few of the service's tests."""
    few_tests(jenkins.repository)
    return jenkins


def ran(build: dict[str, Any]) -> list[str]:
    """The steps that were called, in no order."""
    return sorted(shell.split("'step' '")[1].split("'")[0] for shell in build["shells"] if "'step'" in shell)


def scanning(lab: Path) -> set[str]:
    """Pods and Secrets of scans of this project; other projects' steps may run in pods meanwhile."""
    return {name for name in kubectl(lab, *OURS, "--output", "name").split() if f"/{NAME}-" in name}


@contextmanager
def changed(repository: Path, name: str, change: Callable[[str], str]) -> Iterator[None]:
    """A file is changed in the repository for this block."""
    file = repository / name
    before = file.read_text() if file.exists() else None
    file.write_text(change(before or ""))
    commit(repository)
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)
        commit(repository)


def test_the_whole_pipeline_from_groovy_to_production(lab: Path, jenkins: Jenkins) -> None:
    build = jenkins.build()
    assert build["result"] == "SUCCESS", build["log"][-5000:]
    names = ["chart", "deploy-prod", "deploy-test", "image", "scan", "test", "verify-prod", "verify-test"]
    assert ran(build) == names
    assert list(build["stages"]) == ["Checkout", "Test", "Build", "TEST", "PROD"]
    assert len(build["shells"]) == 1 + len(names), "one call of the shell for each step, and one for the plan"
    (digest,) = running_digests(lab, "prod")
    assert digest in build["questions"][0]
    assert build["junit"]["tests"] > 100
    assert build["junit"]["failed"] == 0
    assert build["coverage"]["lines"] > 0.85
    assert "quality gate OK http" in build["description"]
    assert "PROD runs it http" in build["description"]
    assert list((jenkins.folder / "job/htmlreports/pipeline-tools").iterdir())
    events = next((jenkins.folder / "job/archive").rglob("events.jsonl")).read_text()
    assert '"event": "approved", "step": "deploy-prod", "by": "ana"' in events


def test_the_pod_of_a_pipeline_is_one_that_a_strict_namespace_takes(
    lab: Path, jenkins: Jenkins, tmp_path: Path
) -> None:
    build = jenkins.build(jenkinsfile="servicePipeline(project: 'service', until: 'nothing')")
    assert build["result"] == "FAILURE", build["log"][-5000:]
    pod = yaml.safe_load(build["podSpecs"][0]) | {"metadata": {"name": "agent", "namespace": "scan"}}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod))
    said = kubectl(lab, "apply", "--dry-run=server", "--filename", str(tmp_path / "pod.yaml"))
    assert "pod/agent created" in said


def test_a_rejected_approval_leaves_production_as_it_was(lab: Path, quick: Jenkins) -> None:
    with changed(quick.repository, "service/servicio/__init__.py", lambda text: text + "\n# changed\n"):
        before = running_digests(lab, "prod")
        build = quick.build(answer={"reject": "ana"})
        assert build["result"] == "ABORTED", build["log"][-5000:]
        assert build["error"] == "Rejected by ana"
        assert "deploy-prod" not in ran(build)
        assert running_digests(lab, "prod") == before != running_digests(lab, "test")


def test_a_failing_test_ends_it_with_its_results_published(quick: Jenkins) -> None:
    with changed(quick.repository, "service/tests/test_broken.py", lambda _: "def test_it() -> None:\n    assert 0\n"):
        build = quick.build()
        assert build["result"] == "FAILURE", build["log"][-5000:]
        assert ran(build) == ["test"]
        assert build["junit"]["failed"] == 1
        assert build["error"].startswith("test: 1 of ")
        assert build["description"].startswith("test: 1 of ")


def test_a_red_gate_ends_it_with_a_link_to_what_is_wrong(quick: Jenkins) -> None:
    broken = "\n\ndef broken() -> None:\n    broken(1, 2)  # type: ignore[call-arg]  # pragma: no cover\n"
    with changed(quick.repository, "service/servicio/__init__.py", lambda text: text + broken):
        build = quick.build()
        assert build["result"] == "FAILURE", build["log"][-5000:]
        assert ran(build) == ["chart", "image", "scan", "test"]
        assert build["error"].startswith(
            f"scan: The quality gate of {NAME} is red: software_quality_blocker_issues is "
        )
        assert f"/dashboard?id={NAME}" in build["description"]
        assert list((quick.folder / "job/archive").rglob("gate.json"))


@pytest.mark.parametrize(
    ("step", "once"),
    [
        ("test", "service/.pipeline/latest/steps/test/log.txt"),
        ("scan", "service/.pipeline/latest/steps/scan/log.txt"),
        ("deploy-test", "service/.pipeline/latest/steps/deploy-test/log.txt"),
    ],
)
def test_an_abort_cleans_up_whatever_is_at_work(lab: Path, quick: Jenkins, step: str, once: str) -> None:
    before, pods = running_digests(lab, "test"), scanning(lab)
    build = quick.build(params={"force": True}, accidents=[{"when": f"'step' '{step}'", "once": once, "what": "abort"}])
    assert build["result"] == "ABORTED", build["log"][-5000:]
    assert scanning(lab) <= pods
    eventually(lambda: running_digests(lab, "test") == before, 90, pause=1)


def test_a_lost_agent_is_replaced_by_one_that_goes_on_where_it_stopped(lab: Path, quick: Jenkins) -> None:
    with changed(quick.repository, "service/servicio/__init__.py", lambda text: text + "\n# another change\n"):
        once = "service/.pipeline/latest/steps/scan/log.txt"
        build = quick.build(accidents=[{"when": "'step' 'scan'", "once": once, "what": "lose the agent"}])
        assert build["result"] == "SUCCESS", build["log"][-5000:]
        assert sum(step["step"] == "node" for step in build["trace"]) == 2
        after = build["log"].partition("Retrying")[2]
        assert (
            f"= test unchanged: nothing that it reads changed since run jenkins-team-clasificador-{quick.number}"
            in after
        )
        # of the scan that was lost with its agent: otherwise its own limit ends it
        for name in scanning(lab):
            kubectl(lab, "delete", "--namespace", "scan", "--wait=false", "--ignore-not-found", name)


def test_no_credential_was_anywhere(lab: Path, jenkins: Jenkins) -> None:
    assert jenkins.seen == set()
    values = {value.encode() for value in secrets_of(lab).values()}
    looked = 0
    for file in jenkins.folder.rglob("*"):
        if file.is_file() and ".git" not in file.parts:
            content = file.read_bytes()
            assert not any(value in content for value in values), file
            looked += 1
    assert looked > 100
    specs = kubectl(lab, "get", "pods", "--all-namespaces", "--output", "yaml").encode()
    assert not any(value in specs for value in values)
