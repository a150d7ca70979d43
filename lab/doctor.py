"""Whether a laboratory can work on this machine, and if not everything that is missing at once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import builds, java, world
from lab.layout import HERE, Lab
from pipeline_tools import process
from pipeline_tools.errors import ConfigError

GIB = 1024**3
POLICY = Path("/usr/sbin/policy-rc.d")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A check's result; ``text`` says what was found, or what is missing and what to do."""

    name: str
    good: bool
    text: str


def examine(lab: Lab, theirs: Collection[str] = ()) -> list[Finding]:
    """Check the machine; ``theirs`` are the user's own servers. Only looks: nothing is installed or changed."""
    return [Finding(name=name, good=good, text=text) for name, good, text in _checks(lab, theirs)]


def insist(lab: Lab, theirs: Collection[str] = ()) -> None:
    """Refuse a machine on which the laboratory cannot work.

    Raises:
        ConfigError: with everything that is missing.
    """
    bad = [finding for finding in examine(lab, theirs) if not finding.good]
    if bad:
        raise ConfigError(
            "The laboratory cannot start on this machine.",
            details="\n".join(f"✘ {finding.name}: {finding.text}" for finding in bad),
            hint="Mend these and run `pipeline-tools lab doctor`, or name your own servers: `lab up --platform FILE`.",
        )


def _checks(lab: Lab, theirs: Collection[str]) -> Iterator[tuple[str, bool, str]]:
    root = os.geteuid() == 0
    yield "root", root, "yes" if root else "needed for namespaces, cgroups and mounts: use sudo -E"
    missing = " ".join(missing_packages())
    if shutil.which("apt-get") is None:
        yield "packages", not missing, f"no apt-get here to install {missing}" if missing else "all there"
    else:
        yield "packages", True, f"to be installed: {missing}" if missing else "all there"
    if "sonarqube" not in theirs:
        found = java.find()
        yield "java", found is not None, str(found or f"a JDK {java.OLDEST} or newer is needed: set JAVA_HOME")
    tun = Path("/dev/net/tun").exists()
    yield "network device", tun, "/dev/net/tun" if tun else "/dev/net/tun is missing: modprobe tun"
    if root:  # nobody else may look everywhere
        yield from _checks_as_root(lab)


def _checks_as_root(lab: Lab) -> Iterator[tuple[str, bool, str]]:
    groups = world.CGROUPS
    writable = os.access(groups, os.W_OK) and any(groups.iterdir())
    yield "cgroups", writable, "writable" if writable else f"{groups} is not writable"
    unmade = [build for build in builds.BUILDS.values() if not build.folder(lab.builds).is_dir()]
    yield _go(bool(unmade))
    alive = world.running(lab)
    disk = shutil.disk_usage(_existing(lab.dir)).free / GIB
    wanted = 0 if alive else 12 if unmade else 6
    yield "disk", disk >= wanted, f"{disk:.0f} GB free; {wanted} are needed"
    memory = _available_memory() / GIB
    yield "memory", alive or memory >= 5, f"{memory:.0f} GB available; {0 if alive else 5} are needed"
    length = len(str(lab.run / "supervisor.sock.999999"))
    yield "folder", length < 108, f"{lab.dir}" + ("" if length < 108 else ": its path is too long for sockets")
    taken = [] if alive or not shutil.which("ss") else list(world.taken_ports(lab))
    if taken:
        yield "ports", False, "\n  ".join([*taken, f"another laboratory beside it: {world.elsewhere(lab)}"])
    else:
        yield "ports", True, f"{lab.port + 18} to {lab.port + 102}"
    stale = world.read(lab) is not None and not alive
    yield "state", True, "runs" if alive else "was killed: `lab up` heals it" if stale else "is down"


def _go(needed: bool) -> tuple[str, bool, str]:
    program = shutil.which("go")
    if program is None:
        return (
            "go",
            not needed,
            "Go 1.24 or newer is needed to build Kubernetes" if needed else "not needed: all is built",
        )
    text = process.run([program, "version"], timeout=30).stdout
    match = re.search(r"go(\d+)\.(\d+)", text)
    good = match is not None and (int(match[1]), int(match[2])) >= (1, 24)
    return "go", good or not needed, text.strip() + ("" if good else ": 1.24 or newer is needed")


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _available_memory() -> int:
    """Bytes that programs could still get, from the kernel's own estimate."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def missing_packages() -> list[str]:
    """Debian packages whose programs are not there."""
    lines = (HERE / "packages.txt").read_text().splitlines()
    pairs = [line.split() for line in lines if line and not line.startswith("#")]
    return [package for program, package in pairs if not Path(program).exists()]


def install_packages(log: builds.Log) -> None:
    """Install the missing Debian packages, without letting their services start on this machine."""
    missing = missing_packages()
    if not missing:
        return
    log("installing Debian packages: " + " ".join(missing))
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with _no_services():
        process.run(["apt-get", "update", "--quiet=2"], timeout=600, env=quiet)
        process.run(
            ["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *missing], timeout=1800, env=quiet
        )
    if still := missing_packages():
        raise ConfigError(f"apt-get did not bring {' '.join(still)}.", hint="Debian 12 is what the laboratory is for.")


@contextmanager
def _no_services() -> Iterator[None]:
    """Debian's way to install a server without starting it: a policy that forbids it, for this moment."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
