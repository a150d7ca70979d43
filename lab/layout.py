"""Where a laboratory keeps its things, which ports it answers on, and its programs' configuration files."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2

from lab import builds, java

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent
# The laboratory's only address besides loopback: what slirp4netns gives to its network namespace.
NODE_IP = "10.0.2.100"
# Ports are the same inside and outside; "registry" is not forwarded: clients go through artifactory.
OFFSETS = {
    "git": 18,
    "kubernetes": 43,
    "registry": 50,
    "artifactory": 81,
    "sonarqube": 90,
    "test": 101,
    "prod": 102,
    **{f"spare-{number}": 102 + number for number in range(1, 5)},
}
INSIDE = frozenset({"registry"})
# Services of type NodePort in the laboratory's cluster get ports from this range. TEST's and PROD's answer outside too,
# and the spare ones: for environments that somebody adds to the platform file.
NODE_PORTS = (100, 149)


@dataclass(frozen=True, kw_only=True)
class Lab:
    """One laboratory: its folder, the base of its ports and the cache of builds that laboratories share."""

    dir: Path
    port: int
    cache: Path

    @staticmethod
    def from_environment() -> Lab:
        """The laboratory that PIPELINE_TOOLS_LAB_DIR, PIPELINE_TOOLS_LAB_PORT and PIPELINE_TOOLS_CACHE name."""
        cache = Path(os.environ.get("PIPELINE_TOOLS_CACHE") or "~/.cache/pipeline-tools").expanduser()
        folder = Path(os.environ.get("PIPELINE_TOOLS_LAB_DIR") or cache / "labs" / "default").expanduser()
        return Lab(
            dir=folder.absolute(),
            port=int(os.environ.get("PIPELINE_TOOLS_LAB_PORT") or 20000),
            cache=cache.absolute(),
        )

    @property
    def name(self) -> str:
        """A name of its own on this machine, for its cgroups."""
        return f"pipeline-tools-lab-{hashlib.sha256(str(self.dir).encode()).hexdigest()[:8]}"

    @property
    def builds(self) -> Path:
        """The builds, keyed by version; shared by every laboratory of the user."""
        return self.cache / "builds"

    @property
    def run(self) -> Path:
        """Sockets and state of the running laboratory; gone after ``down``."""
        return self.dir / "run"

    @property
    def log(self) -> Path:
        """A log file for each program."""
        return self.dir / "log"

    @property
    def etc(self) -> Path:
        """The configuration files, made anew at each ``up``."""
        return self.dir / "etc"

    @property
    def credentials(self) -> Path:
        """One file for each secret, readable by the user alone."""
        return self.dir / "credentials"

    @cached_property
    def ports(self) -> dict[str, int]:
        """Port of each part that listens."""
        return {name: self.port + offset for name, offset in OFFSETS.items()}

    @property
    def forwarded(self) -> dict[str, int]:
        """The ports that the host's loopback interface answers on."""
        return {name: port for name, port in self.ports.items() if name not in INSIDE}

    def at(self, part: str) -> str:
        """``127.0.0.1:PORT`` of a part."""
        return f"127.0.0.1:{self.ports[part]}"

    def make_folders(self) -> None:
        """Make the folders; the credentials' is the user's alone."""
        for folder in (self.dir, self.run, self.log, self.etc, self.credentials, self.builds):
            folder.mkdir(parents=True, exist_ok=True)
        self.credentials.chmod(0o700)

    def render(self, template: str) -> str:
        """A file of ``templates/`` with this laboratory's values in it."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,  # noqa: S701  these are configuration files, not pages
        )
        return environment.get_template(template).render(
            lab=self,
            ports=self.ports,
            node_ip=NODE_IP,
            node_ports=f"{self.port + NODE_PORTS[0]}-{self.port + NODE_PORTS[1]}",
            build={name: build.folder(self.builds) for name, build in builds.BUILDS.items()},
            python=sys.executable,
            java=java.find(),
            checkout=CHECKOUT,
            search_path=os.environ.get("PATH", ""),
        )

    def configuration(self) -> dict[Path, str]:
        """Every file of ``templates/`` with this laboratory's values, under the path that it has in ``etc/``."""
        templates = HERE / "templates"
        names = [file.relative_to(templates) for file in sorted(templates.rglob("*")) if file.is_file()]
        return {self.etc / name: self.render(str(name)) for name in names}


def secret(path: Path, make: str) -> str:
    """The secret in ``path``; the first time ``make`` is written there, readable by the user alone."""
    if not path.is_file():
        write_secret(path, make)
    return path.read_text().strip()


def write_secret(path: Path, text: str) -> None:
    """Write a file that only the user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
