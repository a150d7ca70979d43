"""Promotion against real git servers, over HTTP with a password and over ssh with a key."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline_tools.config import schema
from pipeline_tools.errors import ConfigError, CredentialError, InfrastructureError, PipelineError
from pipeline_tools.step import Context
from pipeline_tools.steps.promote import STEP
from tests import git_servers
from tests.git_servers import PASSWORD, Server, commit, git

KINDS = {"http": git_servers.http, "ssh": git_servers.ssh}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with KINDS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def project(server: Server, tmp_path: Path) -> Path:
    """A clone with a commit on develop that is on the server; master is at the one before."""
    name = tmp_path.name
    server.create(name)
    folder = server.clone(name, tmp_path / "project")
    git(folder, "switch", "--quiet", "--create", "develop")
    commit(folder, "first", a_txt="1")
    push(folder, server, "develop", "develop:master")
    commit(folder, "feat: more", a_txt="2")
    push(folder, server, "develop")
    return folder


def bare(server: Server, project: Path) -> Path:
    return server.root / Path(git(project, "remote", "get-url", "origin")).name


def push(folder: Path, server: Server, *refs: str) -> None:
    """Past the server, straight into its repository."""
    git(folder, "push", "--quiet", str(bare(server, folder)), *refs)


def heads(server: Server, project: Path) -> dict[str, str]:
    rows = git(bare(server, project), "for-each-ref", "--format=%(refname) %(objecttype) %(objectname) %(*objectname)")
    return {row.split()[0]: row.split()[-1] for row in rows.splitlines()}


def context(project: Path, server: Server, settings: Mapping[str, Any] | None = None, **inputs: Any) -> Context[Any]:
    values = {"kind": "data", "name": "x", "git": settings or server.settings, "promote": inputs}
    config = schema.model().model_validate(values)
    return Context(
        project=project,
        config=config,
        inputs=config.section("promote"),
        environment=None,
        out=project,
        outputs={},
        log=lambda text: None,
        version="0.1.0-gabc",
        commit=git(project, "rev-parse", "HEAD"),
        branch="develop",
        run_id="r1",
    )


def promote(project: Path, server: Server, **inputs: Any) -> Mapping[str, Any]:
    return STEP.run(context(project, server, **inputs))


def refused(project: Path, server: Server, match: str, kind: type[PipelineError] = ConfigError, **inputs: Any) -> None:
    """Nothing on the server may change."""
    before = heads(server, project)
    with pytest.raises(kind, match=match) as told:
        promote(project, server, **inputs)
    assert told.value.hint
    assert heads(server, project) == before


def test_the_tested_commit_gets_to_master_with_an_annotated_tag(project: Path, server: Server) -> None:
    head = git(project, "rev-parse", "HEAD")
    outputs = promote(project, server)
    assert outputs["commit"] == head
    assert (outputs["version"], outputs["tag"], outputs["branch"]) == ("0.1.0", "v0.1.0", "master")
    assert outputs["repository"] == git(project, "remote", "get-url", "origin")
    assert git(project, "tag", "--points-at", "HEAD") == "v0.1.0", "here it is known too"
    after = heads(server, project)
    assert after["refs/heads/master"] == after["refs/tags/v0.1.0"] == head
    assert git(bare(server, project), "cat-file", "-t", "v0.1.0") == "tag"
    said = git(bare(server, project), "cat-file", "-p", "v0.1.0")
    assert "tagger pipeline-tools <pipeline-tools@localhost>" in said
    assert "run r1" in said


def test_again_it_changes_nothing_and_gives_the_same(project: Path, server: Server) -> None:
    first = promote(project, server)
    before = heads(server, project)
    assert promote(project, server) == first
    assert heads(server, project) == before


def test_the_version_follows_the_messages_since_the_last_tag(project: Path, server: Server) -> None:
    versions = [promote(project, server)["version"]]
    for message in ("fix: a", "feat: b", "feat!: c", "words", "x\n\nBREAKING CHANGE: y"):
        commit(project, message, a_txt=message)
        push(project, server, "develop")
        versions.append(promote(project, server)["version"])
    assert versions == ["0.1.0", "0.1.1", "0.2.0", "0.3.0", "0.3.1", "0.4.0"]


def test_a_project_without_master_gets_one(project: Path, server: Server) -> None:
    git(bare(server, project), "update-ref", "-d", "refs/heads/master")
    promote(project, server)
    assert heads(server, project)["refs/heads/master"] == git(project, "rev-parse", "HEAD")


def test_of_a_shallow_clone_the_history_is_fetched(project: Path, server: Server, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    source = f"file://{bare(server, project)}"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=develop", source, str(shallow))
    git(shallow, "remote", "set-url", "origin", git(project, "remote", "get-url", "origin"))
    assert promote(shallow, server)["version"] == "0.1.0"


def test_other_branches_and_tags_are_a_matter_of_configuration(project: Path, server: Server) -> None:
    git(bare(server, project), "update-ref", "refs/heads/main", "refs/heads/master")
    settings = {**server.settings, "tag_prefix": "data-v"}
    outputs = STEP.run(context(project, server, settings, target="main"))
    assert outputs["tag"] == "data-v0.1.0"
    after = heads(server, project)
    assert after["refs/heads/main"] == after["refs/tags/data-v0.1.0"] != after["refs/heads/master"]


def test_a_master_that_has_other_commits_is_not_overwritten(project: Path, server: Server) -> None:
    git(project, "switch", "--quiet", "--detach", "HEAD~1")
    commit(project, "hotfix", b_txt="1")
    push(project, server, "HEAD:master")
    git(project, "switch", "--quiet", "develop")
    refused(project, server, "master of .* has commits that develop has not")


def test_a_changed_work_tree_is_not_what_was_tested(project: Path, server: Server) -> None:
    (project / "a.txt").write_text("3")
    refused(project, server, "work tree differs")


def test_a_commit_that_is_not_develops_is_not_promoted(project: Path, server: Server) -> None:
    commit(project, "not pushed", a_txt="3")
    refused(project, server, "is not what develop of .* is at")
    push(project, server, "develop")
    git(project, "switch", "--quiet", "--detach", "HEAD~1")
    refused(project, server, "is not what develop of .* is at")


def test_what_is_in_master_as_a_part_of_something_later_is_not_published_anew(project: Path, server: Server) -> None:
    commit(project, "later", a_txt="3")
    push(project, server, "develop")
    promote(project, server)
    git(project, "switch", "--quiet", "--detach", "HEAD~1")
    refused(project, server, "without a version: a later commit was promoted")


def test_a_commit_that_was_pushed_to_master_by_hand_gets_its_tag(project: Path, server: Server) -> None:
    push(project, server, "develop:master")
    assert promote(project, server)["tag"] == "v0.1.0"
    assert heads(server, project)["refs/tags/v0.1.0"] == git(project, "rev-parse", "HEAD")


def test_nothing_is_half_pushed_when_the_server_refuses_the_tag(project: Path, server: Server) -> None:
    hook = bare(server, project) / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase $1 in refs/tags/*) echo "tags are not for you" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    before = heads(server, project)
    with pytest.raises(PipelineError) as told:
        promote(project, server)
    assert "tags are not for you" in told.value.details
    assert heads(server, project) == before
    assert git(project, "tag", "--list") == "", "nor is a tag left here"


def with_submodule(project: Path, server: Server, tmp_path: Path, branch: str) -> Path:
    """The project gets a submodule, whose commit is on ``branch`` of its own repository."""
    server.create(f"{tmp_path.name}-sub")
    sub = server.clone(f"{tmp_path.name}-sub", tmp_path / "sub")
    git(sub, "switch", "--quiet", "--create", branch)
    commit(sub, s_txt="1")
    push(sub, server, branch)
    path = project / "sub"
    git(project, "submodule", "--quiet", "add", "--branch", branch, str(bare(server, sub)), "sub")
    git(path, "remote", "set-url", "origin", git(sub, "remote", "get-url", "origin"))
    commit(project, "with a submodule")
    push(project, server, "develop")
    return sub


def test_a_submodule_must_be_promoted_first(project: Path, server: Server, tmp_path: Path) -> None:
    sub = with_submodule(project, server, tmp_path, "develop")
    refused(project, server, "submodule sub is at .*, which is not on master")
    push(sub, server, "develop:master")
    told = promote(project, server)["submodules"]
    url = git(sub, "remote", "get-url", "origin")
    assert told == [{"path": "sub", "commit": git(sub, "rev-parse", "HEAD"), "repository": url}]


def test_a_submodule_at_another_commit_was_not_tested(project: Path, server: Server, tmp_path: Path) -> None:
    with_submodule(project, server, tmp_path, "master")
    commit(project / "sub", "another")
    refused(project, server, "work tree differs")
    git(project, "config", "submodule.sub.ignore", "all")
    refused(project, server, "submodule sub is at .*, the commit wants")


def test_who_may_not_push_is_told_so(
    project: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("LANGUAGE", "es")
    if "password" in server.settings:
        (tmp_path / "wrong").write_text("wrong\n")
        settings = {**server.settings, "password": f"file:{tmp_path / 'wrong'}"}
    else:
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")]
        subprocess.run(argv, check=True)
        settings = {**server.settings, "ssh_key": str(tmp_path / "other")}
    refused(project, server, "did not work with", CredentialError, settings=settings)


def test_a_server_that_is_gone_is_a_matter_of_infrastructure(project: Path, server: Server) -> None:
    url = git(project, "remote", "get-url", "origin")
    git(project, "remote", "set-url", "origin", url.replace(server.base.rpartition(":")[2].partition("/")[0], "9"))
    with pytest.raises(InfrastructureError):
        promote(project, server)


@pytest.mark.parametrize("server", ["http"], indirect=True)  # over ssh there is no password
def test_the_password_is_in_no_command_and_in_no_file(server: Server, project: Path, tmp_path: Path) -> None:
    """A git in front of the real one writes down with what it was called."""
    (project / "pipeline.yml").write_text(
        json.dumps(
            {
                "kind": "data",
                "name": "x",
                "git": server.settings,
                "test": {"enabled": False},
                "check": {"enabled": False},
            }
        )
    )
    commit(project, "pipeline")
    push(project, server, "develop")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/calls\nexec /usr/bin/git "$@"\n')
    wrapper.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline_tools", "run"],
        cwd=project,
        env={"PATH": f"{wrapper.parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "push" in (tmp_path / "calls").read_text()
    looked = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert all(PASSWORD.encode() not in file.read_bytes() for file in looked)
    assert PASSWORD not in done.stdout + done.stderr


def test_of_promotions_at_the_same_time_one_does_it_and_the_others_find_it_done(
    project: Path, server: Server, tmp_path: Path
) -> None:
    clones = [server.clone(bare(server, project).stem, tmp_path / f"clone{number}") for number in range(4)]
    for clone in clones:
        git(clone, "switch", "--quiet", "develop")
    gate = threading.Barrier(len(clones), timeout=60)

    def one(clone: Path) -> Mapping[str, Any]:
        gate.wait()
        return promote(clone, server)

    with ThreadPoolExecutor(len(clones)) as pool:
        outputs = list(pool.map(one, clones))
    assert all(one == outputs[0] for one in outputs)
    assert [name for name in heads(server, project) if "/tags/" in name] == ["refs/tags/v0.1.0"]


def test_of_two_commits_at_the_same_time_both_are_not_lost(project: Path, server: Server, tmp_path: Path) -> None:
    """The first is promoted, or the second with the first in it; nothing else may come of it."""
    second = server.clone(bare(server, project).stem, tmp_path / "second")
    git(second, "switch", "--quiet", "develop")
    newer = commit(second, "newer", a_txt="3")
    older = git(project, "rev-parse", "HEAD")
    gate = threading.Barrier(2, timeout=60)

    def first() -> str:
        gate.wait()
        try:
            return str(promote(project, server)["commit"])
        except ConfigError:
            return "refused"

    def other() -> str:
        gate.wait()
        push(second, server, "develop")
        return str(promote(second, server)["commit"])

    with ThreadPoolExecutor(2) as pool:
        one, two = pool.submit(first), pool.submit(other)
        assert one.result() in (older, "refused")
        assert two.result() == newer
    after = heads(server, project)
    assert after["refs/heads/master"] == newer
    tagged = {commit for name, commit in after.items() if "/tags/" in name}
    assert newer in tagged
    assert (older in tagged) == (one.result() == older)
