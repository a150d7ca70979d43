"""Real git servers for the tests: git http-backend behind lighttpd, with a password; and sshd, with a key."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

USER, PASSWORD = "someone", "git-pass%-with/signs"
IDENTITY = {f"GIT_{who}_{what}": "t@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server with bare repositories in ``root``; ``settings`` is the section `git` of a configuration."""

    root: Path
    base: str
    settings: Mapping[str, Any]

    def url(self, name: str) -> str:
        return f"{self.base}/{name}.git"

    def create(self, name: str) -> Path:
        """An empty repository that takes pushes; the tests look into it here."""
        bare = self.root / f"{name}.git"
        git(self.root, "init", "--quiet", "--bare", "--initial-branch=master", str(bare))
        git(bare, "config", "http.receivepack", "true")
        return bare

    def clone(self, name: str, folder: Path) -> Path:
        """A clone whose remote is the server; made from the disk, with the server's address afterwards."""
        git(self.root, "clone", "--quiet", str(self.root / f"{name}.git"), str(folder))
        git(folder, "remote", "set-url", "origin", self.url(name))
        return folder


def git(folder: Path, *words: str) -> str:
    """Run git as a made-up person; file:// submodules are allowed."""
    argv = ["git", "-c", "protocol.file.allow=always", *words]
    done = subprocess.run(argv, cwd=folder, env={**os.environ, **IDENTITY}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder: Path, message: str = "change", **files: str) -> str:
    """Write files (``name_txt`` is name.txt), commit everything; returns the commit."""
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@contextmanager
def http(folder: Path) -> Iterator[Server]:
    """git http-backend behind lighttpd on a free port."""
    root = folder / "http"
    root.mkdir()
    port = free_port()
    (folder / "users").write_text(f"{USER}:{PASSWORD}\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    (folder / "user").write_text(f"{USER}\n")
    (folder / "lighttpd.conf").write_text(
        f"""
server.modules = ("mod_alias", "mod_auth", "mod_authn_file", "mod_cgi", "mod_setenv")
server.document-root = "{root}"
server.port = {port}
server.bind = "127.0.0.1"
alias.url = ("/" => "/usr/lib/git-core/git-http-backend/")
cgi.assign = ("" => "")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1", "HOME" => "/nonexistent")
auth.backend = "plain"
auth.backend.plain.userfile = "{folder / "users"}"
auth.require = ("/" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
"""
    )
    settings = {"username": f"file:{folder / 'user'}", "password": f"file:{folder / 'password'}"}
    with _serving(["/usr/sbin/lighttpd", "-D", "-f", str(folder / "lighttpd.conf")], port):
        yield Server(root=root, base=f"http://127.0.0.1:{port}", settings=settings)


@contextmanager
def ssh(folder: Path) -> Iterator[Server]:
    """The sshd of the machine on a free port, for this user and one key."""
    root = folder / "ssh"
    root.mkdir()
    port = free_port()
    for name in ("host", "key"):
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(argv, check=True, capture_output=True)
    shutil.copy(folder / "key.pub", folder / "authorized")
    (folder / "authorized").chmod(0o600)
    kind, key = (folder / "host.pub").read_text().split()[:2]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    (folder / "sshd_config").write_text(
        f"""
Port {port}
ListenAddress 127.0.0.1
HostKey {folder / "host"}
PidFile none
AuthorizedKeysFile {folder / "authorized"}
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
StrictModes no
UsePAM no
"""
    )
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd locks itself in; the package's service would make it
    settings = {"ssh_key": str(folder / "key"), "known_hosts": str(folder / "known")}
    user = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    with _serving(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config")], port):
        yield Server(root=root, base=f"ssh://{user}@127.0.0.1:{port}{root}", settings=settings)


@contextmanager
def _serving(argv: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            end = time.monotonic() + 20
            while True:
                assert process.poll() is None, f"{argv[0]} ended"
                assert time.monotonic() < end, f"{argv[0]} does not listen"
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()
