"""Single commits, looked at in a clone or brought from a server: what they are, and which sources are in them."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipeline_tools.failures import explained
from pipeline_tools.process import ProcessFailed, run

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
    url = run(["git", "config", "--get", "remote.origin.url"], cwd=folder, timeout=TIMEOUT, ok=(0, 1)).stdout.strip()
    return re.sub(r"^(https?://)[^/@]*@", r"\1", url)


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


def fetch(url: str, name: str, into: Path) -> None:
    """Bring one commit, without the content of its files where the server can, into a new bare repository.

    Raises:
        ConfigError: the repository has no such commit, or the address is of a kind that is not allowed.
        CredentialError, InfrastructureError: the server refused us, or did not answer.
    """
    run(["git", "init", "--quiet", "--bare", into], timeout=TIMEOUT)
    allowed = [word for each in PROTOCOLS for word in ("-c", f"protocol.{each}.allow=always")]
    argv = ["git", "-c", "protocol.allow=never", *allowed, "fetch", "--quiet", "--depth=1", "--filter=blob:none"]
    try:
        run([*argv, "--", url, name], cwd=into, timeout=TIMEOUT, env={"GIT_TERMINAL_PROMPT": "0"})
    except ProcessFailed as error:
        raise explained("git", error.result.stderr.strip(), f"git could not fetch {name} from {url}.") from error


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
