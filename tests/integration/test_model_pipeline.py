"""The pipeline of a model that is not ours, with its own programs; real git over HTTP, the laboratory's Artifactory."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_tools.systems.artifactory import Artifactory
from tests import git_servers
from tests.git_servers import PASSWORD, Server, commit, git
from tests.integration.test_artifactory import DEPLOYER, host, ours, url
from tests.integration.test_githost import Server as Host
from tests.integration.test_githost import serving
from tests.integration.test_githost import settings as host_settings

__all__ = ["host", "ours", "url"]

HASHED = f"# what it needs\nflask==3.1.3 \\\n    --hash=sha256:{'c' * 64}\n"
NUMBERS = itertools.count(1)
PROGRAMS = {
    "tests.sh": """#!/bin/sh
echo '<testsuite name="t" tests="2" failures="0" errors="0" skipped="0"><testcase name="a"/></testsuite>' > "$1"
""",
    "evaluate.sh": """#!/bin/sh
# evaluate.sh OUT [CHAMPION]: worse when there is a file that says so
mkdir -p "$1"
echo "<p>compared with ${2:-nothing}</p>" > "$1/r.html"
echo '{"top1": 0.91, "claims": 600, "labels": ["a"], "good": true}' > "$1/s.json"
test -z "$2" || python3 -m zipfile -l "$2"
test ! -e worse || { echo "worse than the champion"; exit 3; }
""",
    "build.py": """
import sys, zipfile, pathlib
name, version, out = sys.argv[1:]
path = pathlib.Path(out) / f"{name}-{version}-py3-none-any.whl"
with zipfile.ZipFile(path, "w") as wheel:
    wheel.writestr(zipfile.ZipInfo(f"{name}.py"), f"VERSION = {version!r}\\n" + pathlib.Path("extra.txt").read_text())
    info = f"{name}-{version}.dist-info"
    wheel.writestr(zipfile.ZipInfo(f"{info}/METADATA"), f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    wheel.writestr(zipfile.ZipInfo(f"{info}/WHEEL"), "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
    wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "")
""",
}


@dataclass(kw_only=True)
class World:
    """The model's project, the service's repository and the platform file."""

    server: Server
    model: Path
    service: Path
    platform: Path
    name: str

    def run(self, *words: str, code: int = 0) -> str:
        argv = [sys.executable, "-m", "pipeline_tools", *(words or ("run",)), "--platform", str(self.platform)]
        done = subprocess.run(argv, cwd=self.model, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == code, done.stderr[-4000:]
        return done.stderr

    def push(self, folder: Path, message: str = "change", **files: str) -> str:
        made = commit(folder, message, **files)
        git(folder, "push", "--quiet", str(self.server.root / Path(git(folder, "remote", "get-url", "origin")).name))
        return made

    def outputs(self, step: str) -> Any:
        return json.loads((self.model / ".pipeline/passed" / f"{step}.json").read_text())["outputs"]

    def statuses(self) -> dict[str, str]:
        run = json.loads((self.model / ".pipeline/latest/run.json").read_text())
        return {step["id"]: step["status"] for step in run["steps"]}

    def refs(self, repository: str) -> list[str]:
        rows = git(self.server.root / f"{repository}.git", "for-each-ref", "--format=%(refname)")
        return rows.splitlines()

    def pinned(self, ref: str) -> str:
        return git(self.server.root / f"service-{self.name}.git", "show", f"{ref}:app/requirements.txt")

    def accept(self) -> None:
        """The service takes what was proposed."""
        bare = str(self.server.root / f"service-{self.name}.git")
        git(self.service, "fetch", "--quiet", bare, "refs/heads/pin/*:refs/pin/*")
        for ref in git(self.service, "for-each-ref", "--format=%(refname)", "refs/pin/").splitlines():
            git(self.service, "merge", "--quiet", ref)
        self.push(self.service)

    def set(self, **sections: Any) -> None:
        values = yaml.safe_load(self.platform.read_text())
        for name, section in sections.items():
            values[name] = {**values.get(name, {}), **section}
        self.platform.write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with git_servers.http(tmp_path_factory.mktemp("git")) as running:
        yield running


@pytest.fixture
def world(server: Server, url: str, tmp_path: Path) -> World:
    name = f"model{next(NUMBERS)}"
    for repository in (name, f"service-{name}"):
        server.create(repository)
    model, service = server.clone(name, tmp_path / "model"), server.clone(f"service-{name}", tmp_path / "service")
    for folder in (model, service):
        git(folder, "switch", "--quiet", "--create", "develop")
        git(folder, "config", "push.autoSetupRemote", "true")
    pipeline = {
        "kind": "model",
        "name": name,
        "test": {"command": ["sh", "tests.sh", "{junit}"]},
        "evaluate": {
            "command": ["sh", "evaluate.sh", "{out}"],
            "champion": name,
            "compare": ["{champion}"],
            "report": "{out}/r.html",
            "summary": "{out}/s.json",
        },
        "export": {"command": ["python3", "build.py", name, "{version}", "{out}"]},
        "pin": {"repository": f"../service-{name}.git", "folder": "app", "test": ["sh", "check.sh"]},
    }
    for file, text in {**PROGRAMS, "extra.txt": f"# {name}\n", "pipeline.yml": yaml.safe_dump(pipeline)}.items():
        (model / file).write_text(text)
    (service / "app").mkdir()
    (service / "app/requirements.txt").write_text(HASHED)
    (service / "app/check.sh").write_text(f"grep {name} requirements.txt\ntest ! -e broken\n")
    (tmp_path / "user").write_text(DEPLOYER[0])
    (tmp_path / "password").write_text(DEPLOYER[1])
    artifactory = {"url": url, "insecure": True}
    artifactory |= {"username": f"file:{tmp_path / 'user'}", "password": f"file:{tmp_path / 'password'}"}
    platform = tmp_path / "platform.yml"
    platform.write_text(yaml.safe_dump({"artifactory": artifactory, "git": dict(server.settings)}))
    made = World(server=server, model=model, service=service, platform=platform, name=name)
    for folder in (model, service):
        made.push(folder, "first")
    return made


ALL = ("test", "evaluate", "promote", "export", "publish", "pin")


def test_from_the_commit_to_the_proposal(world: World, ours: Artifactory) -> None:
    said = world.run()
    assert world.statuses() == dict.fromkeys(ALL, "passed")
    assert PASSWORD not in said
    promoted, built, published, proposed = (world.outputs(name) for name in ("promote", "export", "publish", "pin"))
    assert (promoted["version"], built["version"], built["name"]) == ("0.1.0", "0.1.0", world.name)
    assert set(world.refs(world.name)) == {"refs/heads/develop", "refs/heads/master", "refs/tags/v0.1.0"}
    properties = {name: values[0] for name, values in ours.properties(published["target"]).items()}
    run = json.loads((world.model / ".pipeline/latest/run.json").read_text())
    assert properties == {
        "vcs.revision": git(world.model, "rev-parse", "HEAD"),
        "vcs.url": world.server.url(world.name),
        "build.name": world.name,
        "build.number": run["id"],
        "lineage.metric.top1": "0.91",
        "lineage.metric.claims": "600",
    }
    assert ours.sha256(published["target"]) == built["sha256"] == published["sha256"]
    branch = f"refs/heads/pin/{world.name}-0.1.0"
    assert branch in world.refs(f"service-{world.name}")
    assert world.pinned(branch) == f"{HASHED}{world.name}==0.1.0 \\\n    --hash=sha256:{built['sha256']}".rstrip()
    assert proposed["pull_request"] is None
    message = git(world.server.root / f"service-{world.name}.git", "log", "-1", "--format=%B", branch)
    assert message.startswith(f"Use {world.name} 0.1.0\n\nIt was not pinned.\n")
    assert f"vcs.revision: {promoted['commit']}" in message
    report = world.model / world.outputs("evaluate")["report"]
    assert "compared with nothing" in report.read_text()

    world.run()
    assert {name for name, status in world.statuses().items() if status == "passed"} == {"promote"}


def test_a_model_is_compared_with_the_one_that_the_service_pins(world: World) -> None:
    world.run()
    world.accept()
    world.run()
    assert world.statuses()["evaluate"] == "unchanged", "it is itself the model in use"
    world.push(world.model, "feat: more", extra_txt="# more\n")
    said = world.run()
    assert f"the champion is {world.name}-0.1.0-py3-none-any.whl" in said
    assert world.outputs("evaluate")["champion"] == "0.1.0"
    assert world.outputs("publish")["version"] == "0.2.0"
    assert world.outputs("pin")["before"] == "0.1.0"
    world.accept()
    assert f"{world.name}==0.2.0" in world.pinned("refs/heads/develop")


def test_what_is_worse_goes_nowhere_and_its_report_is_kept(world: World) -> None:
    world.run()
    world.accept()
    before = world.refs(world.name)
    world.push(world.model, "fix: perhaps", worse="")
    said = world.run(code=3)
    assert "worse than the champion" in said
    ended = world.statuses()
    assert (ended["evaluate"], ended["promote"], ended["publish"]) == ("failed", "not run", "not run")
    assert world.refs(world.name) == before
    run = (world.model / ".pipeline/latest").resolve()
    assert "compared with /" in (run / "steps/evaluate/report.html").read_text()


def test_a_version_is_published_once(world: World) -> None:
    world.run()
    (world.model / "extra.txt").write_text("# other bytes under the same version\n")
    world.run("step", "export", "--force")
    said = world.run("step", "publish", code=3)
    assert "is published already, with other content" in said


def test_nothing_is_proposed_that_the_service_does_not_pass(world: World) -> None:
    world.push(world.service, "breaks with any model", **{"app/broken": ""})
    said = world.run(code=3)
    assert "does not pass its tests with the new version" in said
    assert not [ref for ref in world.refs(f"service-{world.name}") if "pin/" in ref]


def test_a_branch_that_someone_else_moved_is_proposed_anew(world: World) -> None:
    world.run()
    branch = f"pin/{world.name}-0.1.0"
    first = world.outputs("pin")["commit"]
    world.push(world.service, "develop goes on", **{"app/more.txt": "1"})
    world.run("step", "pin", "--force")
    second = world.outputs("pin")["commit"]
    assert second != first
    bare = world.server.root / f"service-{world.name}.git"
    assert git(bare, "rev-parse", f"{branch}~1") == git(bare, "rev-parse", "develop")
    world.run("step", "pin", "--force")
    assert world.outputs("pin")["commit"] == second, "again it changes nothing"


def test_a_pull_request_is_opened_where_the_server_is_known(world: World, tmp_path: Path) -> None:
    hosting = Host()
    hosting.known = f"service-{world.name}"
    with serving(hosting) as api:
        settings = host_settings(tmp_path, "github", api)
        world.set(git={"host": "github", "api": api, "token": settings.token})
        world.run()
        assert world.outputs("pin")["pull_request"] == f"https://github.example/pull/pin/{world.name}-0.1.0"
    assert [one["target"] for one in hosting.open] == ["develop"]
