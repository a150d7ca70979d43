"""The laboratory that `lab/with-lab` brought up, and projects to run on it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.layout import Lab

CHECKOUT = Path(__file__).resolve().parents[2]
TOOL = [sys.executable, "-m", "pipeline_tools"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Have a test that is marked `alone` wait until no other runs on the laboratory, in whatever process."""
    folder = Path(os.environ.get("PIPELINE_TOOLS_LAB_DIR", ""), "run")
    if not folder.is_dir():
        return (yield)  # `lab` will say what is missing
    with (folder / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)


@pytest.fixture(scope="session")
def lab() -> Path:
    """The laboratory's folder; its platform file is in PIPELINE_TOOLS_PLATFORM."""
    folder = Path(os.environ.get("PIPELINE_TOOLS_LAB_DIR", ""))
    platform = os.environ.get("PIPELINE_TOOLS_PLATFORM", "")
    assert platform, "run these tests through lab/with-lab (make test does)"
    assert Path(platform).is_file()
    return folder


def platform() -> Any:
    """The laboratory's platform file."""
    return yaml.safe_load(Path(os.environ["PIPELINE_TOOLS_PLATFORM"]).read_text())


@contextmanager
def own_environments(lab: Path, name: str, spare: tuple[int, int], folder: Path) -> Iterator[None]:
    """TEST and PROD are namespaces of ``name``'s own in this block, on two of the laboratory's spare ports.

    Tests that deploy need not wait for one another then.
    """
    values = platform()
    namespaces = []
    for (environment, settings), number in zip(values["environments"].items(), spare, strict=True):
        port = Lab.from_environment().ports[f"spare-{number}"]
        settings["deploy"]["namespace"] = f"{name}-{environment}"
        settings["deploy"]["settings"]["service.nodePort"] = str(port)
        settings["verify"]["url"] = f"http://127.0.0.1:{port}"
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        about = {"name": f"{name}-{environment}", "labels": labels}
        namespaces.append({"apiVersion": "v1", "kind": "Namespace", "metadata": about})
    file = folder / "namespaces.yaml"
    file.write_text(yaml.safe_dump_all(namespaces))
    kubectl(lab, "delete", "--ignore-not-found", "--filename", str(file))  # tests that were killed left them
    kubectl(lab, "apply", "--filename", str(file))
    (folder / "platform.yml").write_text(yaml.safe_dump(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_TOOLS_PLATFORM", str(folder / "platform.yml"))
        yield
    kubectl(lab, "delete", "--wait=false", "--filename", str(file))


@pytest.fixture(scope="session")
def workspace(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the service and its chart in a repository of its own, so that tests may change them.

    It is what lab/with-lab made of the checkout's: with the model's version pinned that the laboratory has.
    """
    folder = tmp_path_factory.mktemp("workspace")
    subprocess.run(["git", "clone", "--quiet", str(lab / "projects/service"), str(folder)], check=True)
    git(folder, "remote", "remove", "origin")
    return folder


@pytest.fixture(scope="session")
def service_image(lab: Path, workspace: Path) -> str:
    """REPOSITORY@DIGEST of the bundled service, built by its pipeline unless that was done already."""
    result = tool(workspace / "service", "run", "image", "--set", "test.enabled=false")  # other tests run its tests
    assert result.returncode == 0, result.stderr[-5000:]
    built = outputs(workspace / "service", "image")
    return f"{built['repository']}@{built['digest']}"


def git(folder: Path, *words: str) -> None:
    """Run git as a made-up person."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    """Commit everything."""
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "change")


def few_tests(repository: Path) -> None:
    """Leave of the bundled service's tests those that are quick: for what comes now, the pipeline alone counts."""
    for file in (repository / "service/tests").glob("test_*.py"):
        if file.stem not in ("test_admission", "test_api", "test_capture", "test_door", "test_model"):
            file.unlink()
    file = repository / "service/pipeline.yml"
    file.write_text(file.read_text().replace("--cov-fail-under=85, ", ""))
    commit(repository)


def tool(folder: Path, *words: str, seconds: float = 600) -> subprocess.CompletedProcess[str]:
    """Run pipeline-tools in a folder."""
    return subprocess.run([*TOOL, *words], cwd=folder, capture_output=True, text=True, timeout=seconds, check=False)


def ledger(project: Path, name: str) -> Any:
    """A JSON file of the latest run."""
    return json.loads((project / ".pipeline/latest" / name).read_text(encoding="utf-8"))


def outputs(project: Path, step: str) -> Any:
    """What a step of the latest run left, also when it did not run again in it."""
    return next(each["outputs"] for each in ledger(project, "run.json")["steps"] if each["id"] == step)


def statuses(project: Path) -> dict[str, str]:
    """How each step of the latest run ended."""
    return {step["id"]: step["status"] for step in ledger(project, "run.json")["steps"]}


def kubectl(lab: Path, *words: str) -> str:
    """Ask the cluster with the real client."""
    argv = ["kubectl", "--kubeconfig", str(lab / "credentials/kubeconfig"), *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def running_digests(lab: Path, environment: str) -> set[str]:
    """Digests of the images of the environment's pods that are not on their way out."""
    namespace = platform()["environments"][environment]["deploy"]["namespace"]
    found = json.loads(kubectl(lab, "--namespace", namespace, "get", "pods", "--output", "json"))
    return {
        status["imageID"].rpartition("@")[2]
        for pod in found["items"]
        if "deletionTimestamp" not in pod["metadata"]
        for status in pod["status"].get("containerStatuses", [])  # a new pod has none yet
    }
