"""Commits looked at where they are: in a clone, or on a server, with the real git."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_tools.config import schema
from pipeline_tools.errors import CredentialError, PipelineError
from pipeline_tools.systems import commits
from tests import git_servers
from tests.ports import free_port


def run(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with sources below another folder, names that git would quote among them."""
    folder = tmp_path_factory.mktemp("served") / "data"
    (folder / "x/fuentes/notas").mkdir(parents=True)
    for name in ("x/fuentes/año «1».csv", "x/fuentes/notas/a.txt", "x/other.txt"):
        (folder / name).write_text(name)
    run(folder, "init", "--quiet", "--initial-branch=master")
    run(folder, "add", ".")
    run(folder, "commit", "--quiet", "--message", "first: añadidas")
    (folder / "x/fuentes/later.csv").write_text("")
    run(folder, "add", ".")
    run(folder, "commit", "--quiet", "--message", "second")
    return folder


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[str]:
    """Address of a server with the repository."""
    port = free_port()
    argv = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}"]
    with subprocess.Popen([*argv, f"--base-path={data.parent}"], stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert time.monotonic() < end, "git daemon did not come up"
                    time.sleep(0.05)
            yield f"git://127.0.0.1:{port}/data"
        finally:
            process.terminate()


def first(data: Path) -> str:
    return run(data, "rev-list", "--max-parents=0", "HEAD").strip()


def test_a_commit_and_what_is_in_its_folders_of_sources(data: Path) -> None:
    wanted = first(data)
    found = commits.commit(data / "x", wanted[:8])
    assert found is not None and (found.id, found.subject) == (wanted, "first: añadidas")
    entries = commits.inside(data / "x", wanted, ("fuentes", "raw"))
    assert [entry.path for entry in entries] == ["x/fuentes/año «1».csv", "x/fuentes/notas/"]
    assert entries[0].id == run(data, "rev-parse", f"{wanted}:x/fuentes/año «1».csv").strip()
    assert commits.inside(data, wanted, ("none",)) == []
    for absent in ("0" * 40, "--all", "HEAD", ""):
        assert commits.commit(data, absent) is None


def test_an_old_commit_is_fetched_from_a_server(data: Path, server: str, tmp_path: Path) -> None:
    wanted = first(data)
    commits.fetch(server, wanted, tmp_path / "copy", schema.Git(), ours=server)
    assert commits.commit(tmp_path / "copy", wanted) is not None
    assert commits.inside(tmp_path / "copy", wanted, ("fuentes",)) == commits.inside(data, wanted, ("fuentes",))


def test_what_cannot_be_fetched_is_explained(data: Path, server: str, tmp_path: Path) -> None:
    hostile = f"ext::sh -c touch% {tmp_path / 'ran'}"
    for number, (url, wanted, exit_code) in enumerate(
        (
            (server, "0" * 40, (2, 4)),
            (f"{server}-none", first(data), (2, 4)),
            ("git://127.0.0.1:9/data", first(data), (4,)),
            (hostile, first(data), (2, 4)),
            (str(data), first(data), (2, 4)),
            (f"--upload-pack=touch {tmp_path / 'ran'}", first(data), (2, 4)),
        )
    ):
        with pytest.raises(PipelineError, match="did not work") as raised:
            commits.fetch(url, wanted, tmp_path / f"copy{number}", schema.Git(), ours="")
        assert raised.value.exit_code in exit_code
    assert not (tmp_path / "ran").exists(), "an address must not run anything"


def test_the_address_that_a_clone_came_from_is_told_without_a_password(data: Path, tmp_path: Path) -> None:
    run(tmp_path, "init", "--quiet", "clone")
    assert commits.remote(tmp_path / "clone") == ""
    run(tmp_path / "clone", "remote", "add", "origin", "https://user:secret@host/data.git")
    assert commits.remote(tmp_path / "clone") == "https://host/data.git"


def test_the_password_is_given_to_our_own_server_alone(tmp_path: Path) -> None:
    with git_servers.http(tmp_path) as server:
        bare = server.create("data")
        clone = server.clone("data", tmp_path / "clone")
        wanted = git_servers.commit(clone, fuentes_csv="a")
        git_servers.git(clone, "push", "--quiet", str(bare), "HEAD:refs/heads/master")
        settings = schema.Git.model_validate(server.settings)
        commits.fetch(server.url("data"), wanted, tmp_path / "copy", settings, ours=server.url("service"))
        assert commits.commit(tmp_path / "copy", wanted) is not None
        with pytest.raises(CredentialError):
            commits.fetch(server.url("data"), wanted, tmp_path / "other", settings, ours="https://elsewhere/x.git")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a.git", "https://u@h/b.git", True),
        ("https://h/a.git", "http://h/a.git", False),
        ("https://h:1/a.git", "https://h/a.git", False),
        ("git@h:a.git", "git@h:b/c.git", True),
        ("ssh://git@h/a.git", "h:b.git", True),
        ("https://h.evil/a.git", "https://h/a.git", False),
        ("https://h@evil/a.git", "https://h/a.git", False),
        ("https://h/a.git", "", False),
    ],
)
def test_which_addresses_are_of_one_server(one: str, other: str, same: bool) -> None:
    assert commits.same_server(one, other) is same
