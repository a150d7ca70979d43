"""The laboratory itself: up, again up, killed, healed, beside another one, and gone without a trace.

SonarQube is left out (a user's own is named instead), so that these take seconds; the other tests have it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from lab import world
from lab.layout import Lab
from pipeline_tools import process

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).resolve().parents[2]
PORT = 24000
# kubelet likes to set these, which are the whole machine's
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
THEIRS = "https://sonarqube.example.com"


@dataclass(frozen=True, kw_only=True)
class Own:
    """A laboratory of these tests' own, driven as users do."""

    dir: Path
    port: int = PORT

    @property
    def lab(self) -> Lab:
        return Lab(dir=self.dir, port=self.port, cache=self.dir)

    @property
    def variables(self) -> dict[str, str]:
        return {"PIPELINE_TOOLS_LAB_DIR": str(self.dir), "PIPELINE_TOOLS_LAB_PORT": str(self.port)}

    def run(self, *words: str, ok: bool = True, as_user: str | None = None) -> process.Result:
        """Run a command of the laboratory, which must succeed or, without ``ok``, fail."""
        become = ["setpriv", f"--reuid={as_user}", "--clear-groups"] if as_user else []
        own_home = {"HOME": "/nonexistent"} if as_user else {}
        command = [*become, sys.executable, "-m", "lab", *words]
        return process.run(
            command, timeout=600, cwd=CHECKOUT, env=self.variables | own_home, ok=(0,) if ok else range(1, 256)
        )

    def states(self) -> dict[str, str]:
        answer = process.run(
            [sys.executable, "-m", "lab", "status", "--json"],
            timeout=120,
            cwd=CHECKOUT,
            env=self.variables,
            ok=(0, 4),
        )
        return {row["part"]: row["state"] for row in json.loads(answer.stdout)}

    def world(self) -> world.World:
        found = world.read(self.lab)
        assert found is not None
        return found

    def kubectl(self, *words: str) -> str:
        kubeconfig = f"--kubeconfig={self.dir / 'credentials' / 'kubeconfig'}"
        return process.run([self.dir / "bin" / "kubectl", kubeconfig, *words], timeout=60).stdout


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A laboratory that has never been up."""
    return Own(dir=tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def traces(new: Own) -> Mapping[str, list[str]]:
    """What the machine looked like before."""
    return _traces(new)


@pytest.fixture(scope="module")
def stopped(new: Own, traces: Mapping[str, list[str]]) -> Iterator[Own]:
    own = new
    own.dir.joinpath("theirs.yml").write_text(yaml.safe_dump({"sonarqube": {"url": THEIRS}}))
    yield own
    own.run("reset", "--yes")


@pytest.fixture
def own(stopped: Own) -> Own:
    """The laboratory, running; an `up` that changes nothing when it is."""
    stopped.run("up", "--platform", str(stopped.dir / "theirs.yml"))
    return stopped


def test_everything_answers_and_the_users_own_server_is_used_instead_of_ours(own: Own) -> None:
    states = own.states()
    assert states.pop("sonarqube") == "theirs"
    assert set(states.values()) == {"ready"}
    platform = yaml.safe_load((own.dir / "platform.yml").read_text())
    assert platform["sonarqube"]["url"] == THEIRS
    assert not (own.dir / "sonarqube").exists()


def test_a_second_up_starts_nothing_anew(own: Own) -> None:
    def pids() -> list[int]:
        with world.Supervisor(own.lab) as supervisor:
            return [entry["pid"] for entry in supervisor.ask("getAllProcessInfo")]

    before = own.world(), pids()
    own.run("up")
    assert (own.world(), pids()) == before


def test_what_a_new_version_starts_anew_in_the_background_is_not_taken_for_ready(own: Own) -> None:
    before = own.world()
    (own.dir / "etc/kubernetes/Corefile").write_text("# another version's\n")
    own.run("up", "--background")
    own.run("wait")
    assert own.world() != before
    assert own.states().pop("dns") == "ready"


def test_environments_enforce_the_restricted_level(own: Own) -> None:
    for name in ("test", "prod", "scan"):
        labels = json.loads(own.kubectl("get", "namespace", name, "--output=json"))["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_docker_client_pushes_and_pulls_by_digest_and_a_reader_may_not_push(own: Own, tmp_path: Path) -> None:
    platform = yaml.safe_load((own.dir / "platform.yml").read_text())
    registry = platform["artifactory"]["docker"].partition("/")[0]
    image = f"{platform['artifactory']['docker']}/copy"

    def docker(*words: str, stdin: bytes | None = None, ok: tuple[int, ...] = (0,)) -> process.Result:
        argv = ["docker", "--config", tmp_path, "--host", platform["docker"]["host"], *words]
        return process.run(argv, timeout=120, stdin=stdin, ok=ok)

    def login(user: str, password: str, ok: tuple[int, ...] = (0,)) -> process.Result:
        secret = (own.dir / "credentials" / password).read_bytes().strip()
        return docker("login", "--username", user, "--password-stdin", registry, stdin=secret, ok=ok)

    login("ci", "artifactory-password")
    docker("tag", platform["image"]["build_args"]["BASE_IMAGE"], f"{image}:1")
    digest = docker("push", f"{image}:1").stdout.rpartition("digest: ")[2].split()[0]
    docker("image", "rm", f"{image}:1")
    docker("pull", f"{image}@{digest}")

    login("reader", "artifactory-reader-password")
    docker("tag", f"{image}@{digest}", f"{image}:2")
    refused = docker("push", f"{image}:2", ok=(1,))
    assert "denied" in refused.stdout + refused.stderr
    assert "unauthorized" in login("ci", "git-password", ok=(1,)).stderr.lower()


def test_git_repositories_take_pushes_with_the_password_only(own: Own, tmp_path: Path) -> None:
    password = (own.dir / "credentials" / "git-password").read_text().strip()
    work = tmp_path / "work"
    author = dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "someone@example.com")
    author |= dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "Someone")

    def git(*words: str, ok: tuple[int, ...] = (0,)) -> str:
        return process.run(["git", "-C", work, *words], timeout=60, env=author, ok=ok).stdout

    work.mkdir()
    git("init", "--quiet", "--initial-branch=master")
    git("commit", "--quiet", "--allow-empty", "--message=first")
    refused = ["-c", "core.askPass=true", "push", f"http://127.0.0.1:{PORT + 18}/service.git", "master"]
    git(*refused, ok=(128,))
    git("push", "--quiet", f"http://ci:{password}@127.0.0.1:{PORT + 18}/service.git", "master")
    head = git("rev-parse", "HEAD").strip()
    assert head in git("ls-remote", f"http://ci:{password}@127.0.0.1:{PORT + 18}/service.git", "master")


def test_another_laboratory_on_the_same_ports_is_refused_and_told_what_to_set(own: Own, tmp_path: Path) -> None:
    second = Own(dir=tmp_path / "second")
    refused = second.run("up", ok=False)
    assert refused.exit_code == 2
    assert f"the laboratory in {own.dir}" in refused.stderr
    assert "PIPELINE_TOOLS_LAB_PORT=25000" in refused.stderr
    assert not second.dir.exists()


def test_a_port_that_another_process_holds_is_named_with_that_process(tmp_path: Path) -> None:
    second = Own(dir=tmp_path / "second", port=PORT + 2000)
    with socket.create_server(("127.0.0.1", second.lab.ports["sonarqube"])):
        refused = second.run("up", ok=False)
    assert refused.exit_code == 2
    assert f"port {second.lab.ports['sonarqube']} (for sonarqube) is held by process {os.getpid()}" in refused.stderr


def test_someone_who_is_not_root_is_refused(stopped: Own, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    refused = Own(dir=tmp_path / "refused", port=PORT + 1000).run("up", ok=False, as_user="nobody")
    assert refused.exit_code == 2
    assert "✘ root" in refused.stderr
    assert not (tmp_path / "refused").exists()


def test_after_a_kill_it_heals_with_its_data(own: Own) -> None:
    own.kubectl("--namespace=test", "create", "configmap", "kept")
    killed = own.world()
    os.kill(killed.slirp, signal.SIGKILL)
    os.kill(killed.unshare, signal.SIGKILL)
    assert "ready" not in own.states().values()
    own.run("up")
    assert own.world() != killed
    assert "kept" in own.kubectl("--namespace=test", "get", "configmap", "kept")
    own.kubectl("--namespace=test", "delete", "configmap", "kept")


def test_after_down_nothing_is_left(own: Own, traces: Mapping[str, list[str]]) -> None:
    own.run("down")
    assert _traces(own) == traces
    assert not (own.dir / "run").exists()
    own.run("down")  # once more does no harm


def _traces(own: Own) -> dict[str, list[str]]:
    """What a laboratory could leave on this machine; another one may be running meanwhile, and does not show here."""
    found = {
        "mounts": [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()],
        "links": [line.split(":")[1] for line in process.run(["ip", "-o", "link"], timeout=10).stdout.splitlines()],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{own.lab.name}")],
        "sysctls": [
            Path("/proc/sys", name).read_text()
            for name in ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
        ],
        "listeners": [
            line for line in process.run(["ss", "-Hltn"], timeout=10).stdout.splitlines() if f":{PORT // 1000}" in line
        ],
        "processes": [],
    }
    for table in ("iptables-save", "ip6tables-save"):
        lines = process.run([f"/usr/sbin/{table}"], timeout=10, ok=(0, 1, 3)).stdout.splitlines()
        found[table] = [line.partition("[")[0] for line in lines if not line.startswith("#")]
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        words = entry.read_bytes() if entry.exists() else b""
        if str(own.dir).encode() in words:
            found["processes"].append(words.decode(errors="replace"))
    return found
