"""Single commits, looked at in a clone or brought from a server: what they are, and which sources are in them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_tools.config import schema
from pipeline_tools.process import ProcessFailed, run
from pipeline_tools.systems.git import Repository, bare_url

TIMEOUT = 60.0
COMMIT = r"[0-9a-f]{4,64}"
# An address may come from outside, and some of git's transports run a command that stands in it.
PROTOCOLS = ("http", "https", "ssh", "git")


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit; ``date`` is ISO 8601."""

    id: str
    date: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file or folder (its ``path`` ends in ``/``) of a commit, with the id of its content."""

    path: str
    id: str


def remote(folder: Path) -> str:
    """Address of the repository's ``origin``, without user and password; empty when there is none."""
    return bare_url(
        run(["git", "config", "--get", "remote.origin.url"], cwd=folder, timeout=TIMEOUT, ok=(0, 1)).stdout.strip()
    )


def commit(folder: Path, name: str) -> Commit | None:
    """The commit whose id begins with ``name``, in the repository of ``folder``; None when it is not there."""
    if not re.fullmatch(COMMIT, name):
        return None
    argv = ["git", "log", "-1", "--format=%H%x00%cI%x00%s", name, "--"]
    try:
        found = run(argv, cwd=folder, timeout=TIMEOUT).stdout.rstrip("\n")
    except ProcessFailed:
        return None
    full, date, subject = found.split("\0", 2)
    return Commit(id=full, date=date, subject=subject)


def fetch(url: str, name: str, into: Path, settings: schema.Git, *, ours: str) -> None:
    """Bring one commit, without the content of its files where the server can, into a new bare repository.

    Args:
        settings: the credentials for the server of ``ours``; any other is asked without, as git finds its own.

    Raises:
        ConfigError: the repository has no such commit, or the address is of a kind that is not allowed.
        CredentialError, InfrastructureError: the server refused us, or did not answer.
    """
    run(["git", "init", "--quiet", "--bare", into], timeout=TIMEOUT)
    for key, value in (("protocol.allow", "never"), *((f"protocol.{each}.allow", "always") for each in PROTOCOLS)):
        run(["git", "config", key, value], cwd=into, timeout=TIMEOUT)
    server = Repository(into, settings if same_server(url, ours) else schema.Git(), url=url)
    server.git("fetch", "--quiet", "--depth=1", "--filter=blob:none", "--", url, name)


def same_server(url: str, other: str) -> bool:
    """Whether two addresses, over HTTP or ssh, are of one server."""

    def server(address: str) -> tuple[str, str]:
        parts = urlsplit(address)
        if "://" in address:
            return parts.scheme, parts.netloc.rpartition("@")[2]
        return "ssh", address.partition(":")[0].rpartition("@")[2]

    return server(url) == server(other)


def inside(folder: Path, name: str, folders: Collection[str]) -> list[Entry]:
    """What is directly in the folders of these names, wherever they are in a commit."""
    listed = _tree(folder, name, "-d", "-r", "--name-only")
    found = []
    for path in (path for path in listed if path.rpartition("/")[2] in folders):
        for line in _tree(folder, f"{name}:{path}"):
            about, _, entry = line.partition("\t")
            _, kind, content = about.split()
            found.append(Entry(path=f"{path}/{entry}" + ("/" if kind == "tree" else ""), id=content))
    return found


def _tree(folder: Path, tree: str, *options: str) -> list[str]:
    argv = ["git", "ls-tree", "-z", "--full-tree", *options, tree]
    return [line for line in run(argv, cwd=folder, timeout=TIMEOUT).stdout.rstrip("\n").split("\0") if line]
