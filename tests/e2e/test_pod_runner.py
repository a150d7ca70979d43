"""Steps that run in a pod, from the agent image that the repository describes."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import docker
import psutil
import pytest
import yaml

from pipeline_tools import __version__
from tests.e2e.conftest import CHECKOUT, TOOL, commit, git, kubectl, ledger, platform, statuses, tool
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

SERVICE_ACCOUNT = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "steps", "namespace": "scan"}}],
}


@pytest.fixture(scope="module")
def agent(lab: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The agent image, built as its Dockerfile says and pushed."""
    context = tmp_path_factory.mktemp("agent")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", context / "wheels", CHECKOUT], check=True)
    (wheel,) = (context / "wheels").glob("pipeline_tools-*.whl")
    constraints = ["--constraint", str(CHECKOUT / "requirements/lock.txt")]
    subprocess.run([*pip, "download", "--dest", context / "wheels", *constraints, wheel, "pip"], check=True)
    (context / "bin").mkdir()
    (context / "bin/helm").write_bytes((lab / "bin/helm").read_bytes())
    (context / "bin/helm").chmod(0o755)
    (context / "Dockerfile").write_bytes((CHECKOUT / "resources/agent/Dockerfile").read_bytes())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(context, ".")
    packed.seek(0)
    client = docker.DockerClient(base_url=platform()["docker"]["host"], timeout=300)
    image = f"{platform()['artifactory']['docker']}/pipeline-tools-agent:{__version__}"
    arguments = {"BASE_IMAGE": platform()["image"]["build_args"]["BASE_IMAGE"], "PACKAGES": ""}
    client.images.build(fileobj=packed, custom_context=True, tag=image, buildargs=arguments, rm=True)
    assert client.containers.run(image, remove=True).decode().strip().endswith(__version__)
    named = ["python3", "-c", "import os, pwd; print(pwd.getpwuid(os.getuid()).pw_name)"]
    assert client.containers.run(image, named, remove=True) == b"agent\n", "ssh wants a name for its user"
    password = (lab / "credentials/artifactory-password").read_text().strip()
    said = client.images.push(image, auth_config={"username": "ci", "password": password})
    client.close()
    pushed = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
    assert pushed, said
    # by digest: a node may have an earlier image of this tag
    return f"{image.rpartition(':')[0]}@{pushed[1]}"


@pytest.fixture
def project(tmp_path: Path, agent: str) -> Path:
    """A library, not at the top of its repository, whose tests run in a pod."""
    folder = tmp_path / "repository/library"
    (folder / "tests").mkdir(parents=True)
    (folder / "sample.py").write_text("def double(x: int) -> int:\n    return 2 * x\n")
    (folder / "conftest.py").write_text("")
    (folder / "secret.txt").write_text("s3cr3t-of-the-pod")
    (folder / ".gitignore").write_text("secret.txt\n")
    (folder / "tests/test_sample.py").write_text(TEST)
    settings = {
        "kind": "library",
        "name": "in-a-pod",
        "scan": {"enabled": False},
        "test": {
            "package": ["sample"],
            "runner": "pod",
            "pod": {
                "image": agent,
                "namespace": "scan",
                "memory": "512Mi",
                "secrets": {"CANARY": f"file:{folder / 'secret.txt'}"},
                "env": {"PLACE": "the pod"},
            },
        },
    }
    (folder / "pipeline.yml").write_text(yaml.safe_dump(settings))
    git(folder.parent, "init", "--quiet", "--initial-branch=develop")
    commit(folder.parent)
    return folder


TEST = """
import os
import pathlib

from sample import double


def test_it_is_in_a_pod() -> None:
    assert double(2) == 4
    assert pathlib.Path("/work/job.json").is_file()
    assert os.environ["PLACE"] == "the pod"
    assert not pathlib.Path("secret.txt").exists(), "what git does not track stays where it is"
    print("the canary is", os.environ["CANARY"])
"""


def left(lab: Path) -> str:
    return kubectl(lab, "--namespace", "scan", "get", "pods,secrets", "--output", "name")


def test_a_step_in_a_pod_leaves_here_what_it_made_there(lab: Path, project: Path) -> None:
    result = tool(project, "run", "--set", "test.options=[-s]")
    assert result.returncode == 0, result.stderr
    outputs = ledger(project, "steps/test/outputs.json")
    assert (outputs["tests"], outputs["coverage_percent"]) == (1, 100.0)
    assert "test_it_is_in_a_pod" in (project / outputs["junit"]).read_text()
    assert "the canary is ****" in result.stderr
    assert "in-a-pod" not in left(lab)
    assert tool(project, "run", "--set", "test.options=[-s]").returncode == 0
    assert statuses(project) == {"test": "unchanged"}


def test_a_failure_in_a_pod_is_of_its_own_class_and_its_report_comes_out(lab: Path, project: Path) -> None:
    (project / "sample.py").write_text("def double(x: int) -> int:\n    return 3\n")
    assert tool(project, "run").returncode == 3
    error = ledger(project, "error.json")
    assert error["message"] == "1 of 1 tests failed."
    assert (project / ".pipeline/latest/steps/test/junit.xml").is_file()
    assert "in-a-pod" not in left(lab)


def test_a_pod_that_needs_more_memory_than_it_may_have_says_so(lab: Path, project: Path) -> None:
    (project / "tests/test_sample.py").write_text("def test_it() -> None:\n    assert len(bytearray(2**30))\n")
    result = tool(project, "run")
    assert result.returncode == 2, result.stderr
    assert "used more memory than its limit" in ledger(project, "error.json")["message"]
    assert "in-a-pod" not in left(lab)


def test_an_image_without_the_tool_is_explained(lab: Path, project: Path) -> None:
    result = tool(project, "run", "--set", f"test.pod.image={platform()['image']['build_args']['BASE_IMAGE']}")
    assert result.returncode == 4
    assert "did not say why" in ledger(project, "error.json")["message"]
    assert tool(project, "run", "--set", "test.pod.image=null").returncode == 2
    assert "resources/agent/Dockerfile" in ledger(project, "error.json")["hint"]


AT_WORK = """
import os
import time
from pathlib import Path


def test_it() -> None:
    print("at work", flush=True)
    {does}
"""


class Disturbed:
    """A run whose pod is at work, with two attempts for it; the second one finds tests that pass at once."""

    def __init__(self, lab: Path, project: Path, does: str, *words: str) -> None:
        self.lab, self.project = lab, project
        tests = project / "tests/test_sample.py"
        tests.write_text(AT_WORK.format(does=does))
        settings = [f"--set={key}" for key in ("test.options=[-s]", "run.attempts=2", "run.wait=1s")]
        argv = [*TOOL, "run", *settings, *words]
        self.process = subprocess.Popen(argv, cwd=project, stderr=subprocess.PIPE, text=True)
        self.wait_for("at work")
        tests.write_text(AT_WORK.format(does="pass"))
        (self.pod,) = re.findall(r"pod/(in-a-pod-test-\w+)", left(lab))

    def __enter__(self) -> Disturbed:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()  # unless it has ended
        self.process.communicate(timeout=60)

    def wait_for(self, words: str) -> str:
        """The line of output that has these words."""
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if words in line:
                return line
        raise AssertionError("".join(lines))

    def ends_well(self) -> str:
        """Why it was tried again, after which it passed and left nothing in the cluster."""
        said = self.process.communicate(timeout=240)[1]
        assert self.process.returncode == 0, said
        lines = (self.project / ".pipeline/latest/events.jsonl").read_text().splitlines()
        (again,) = (event for event in map(json.loads, lines) if event["event"] == "step retried")
        assert ledger(self.project, "run.json")["steps"][0]["attempts"] == 2
        assert "in-a-pod" not in left(self.lab)
        return str(again["message"])


def test_a_pod_that_is_drained_away_is_no_interrupt_and_is_tried_again(lab: Path, project: Path) -> None:
    with Disturbed(lab, project, "time.sleep(600)") as run:
        about = {"name": run.pod, "namespace": "scan"}
        eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about})
        (project.parent / "eviction.json").write_text(eviction)
        address = f"/api/v1/namespaces/scan/pods/{run.pod}/eviction"
        kubectl(lab, "create", "--raw", address, "--filename", str(project.parent / "eviction.json"))
        said = run.ends_well()
    assert "it was evicted" in said or "is gone" in said


def test_a_pod_that_the_node_evicts_says_what_of_and_is_tried_again(lab: Path, project: Path) -> None:
    small = "{name: small, mountPath: /small, emptyDir: {sizeLimit: 1Mi}}"
    does = "Path('/small/file').write_bytes(os.urandom(5_000_000)); time.sleep(600)"
    with Disturbed(lab, project, does, f"--set=test.pod.volumes=[{small}]") as run:
        assert 'the node evicted it: Usage of EmptyDir volume "small" exceeds the limit "1Mi"' in run.ends_well()


@pytest.mark.alone
def test_a_pod_whose_node_is_lost_is_tried_again_when_there_is_a_node(lab: Path, project: Path) -> None:
    """As Kubernetes tells of a node that no longer answers, and is given up."""
    with Disturbed(lab, project, "time.sleep(600)") as run:
        named = f"--root-dir={lab}/kubelet"
        (kubelet,) = (each for each in psutil.process_iter(["cmdline"]) if named in (each.info["cmdline"] or ()))
        node = kubectl(lab, "get", "nodes", "--output", "name").strip().removeprefix("node/")
        taint = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
        kubelet.suspend()
        try:
            kubectl(lab, "taint", "nodes", node, taint)
            assert "no node takes it" in run.wait_for("waiting: ")
        finally:
            kubelet.resume()
            kubectl(lab, "taint", "nodes", node, f"{taint}-")
        assert "went away or was told to give up its pods" in run.ends_well()

    def recovered() -> bool:
        listed = json.loads(kubectl(lab, "get", "deployments", "--all-namespaces", "--output", "json"))
        return all(each["status"].get("availableReplicas") == each["spec"]["replicas"] for each in listed["items"])

    eventually(recovered, 180, pause=1)  # every pod was lost
