"""What the laboratory is made of and how it is made: once, into a cache that is keyed by version.

The versions are those of the manifests beside this file (go.mod, pom.xml), where update bots find them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pipeline_tools import process
from pipeline_tools.errors import InfrastructureError

HERE = Path(__file__).resolve().parent
HOUR = 3600.0
Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Build:
    """A thing to make.

    Args:
        name: also the first part of its folder's name.
        version: read from ``manifest``.
        manifest: file or folder beside this module; a change of it is a new build.
        make: fills the empty folder it is given, saying on ``log`` how far it is.
        processor: whether making it keeps every core busy (a compilation) rather than the network.
    """

    name: str
    version: str
    manifest: Path
    make: Callable[[Path, Log], None]
    processor: bool = False

    def folder(self, builds: Path) -> Path:
        """Where the build is, or will be."""
        files = sorted(self.manifest.rglob("*")) if self.manifest.is_dir() else [self.manifest]
        digest = hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file()))
        return builds / f"{self.name}-{self.version}-{digest.hexdigest()[:8]}"

    def ensure(self, builds: Path, log: Log) -> Path:
        """The folder of the build, which is made if it is not there; another laboratory may be making it right now."""
        folder = self.folder(builds)
        if not folder.is_dir():
            with FileLock(builds / f".{folder.name}.lock"):
                if not folder.is_dir():
                    unfinished = builds / f".{folder.name}.new"
                    shutil.rmtree(unfinished, ignore_errors=True)
                    unfinished.mkdir(parents=True)
                    self.make(unfinished, log)
                    unfinished.rename(folder)
        return folder


def go(folder: str, module: str) -> Build:
    """The programs that ``folder/go.mod`` names as its tools, built with static linking and without debug tables."""
    manifest = HERE / folder / "go.mod"

    def make(target: Path, log: Log) -> None:
        # Collecting garbage costs a fifth of the time; the limit keeps small machines from swapping.
        fast = {"CGO_ENABLED": "0", "GOGC": "off", "GOMEMLIMIT": "1500MiB", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        packages = process.run(["go", "list", "-deps", "tool"], timeout=HOUR, cwd=manifest.parent, env=fast).stdout
        total, done = len(packages.split()), 0

        def count(line: str) -> None:
            nonlocal done
            done += 1
            if done % 100 == 0:
                log(f"compiled {done} of at most {total} packages")

        command = ["go", "build", "-v", "-trimpath", "-ldflags=-s -w", "-o", f"{target}/", "tool"]
        process.run(command, timeout=HOUR, cwd=manifest.parent, env=fast, log=count)

    return Build(name=folder, version=go_version(manifest, module), manifest=manifest, make=make, processor=True)


def go_version(manifest: Path, module: str) -> str:
    """The version of a module that a go.mod requires."""
    found = re.search(rf"^(?:require )?\s*{re.escape(module)} v(\S+)", manifest.read_text(), re.MULTILINE)
    return found[1] if found else "0"


def _pause(target: Path, log: Log) -> None:
    source = HERE / "pause" / "main.go"
    command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(target / "pause"), str(source)]
    process.run(command, timeout=HOUR, env={"CGO_ENABLED": "0", "GO111MODULE": "off"})


def _sonarqube(target: Path, log: Log) -> None:
    """The server without the analyzers, runtimes and start scripts that are not used: a third of the whole."""
    log("fetching 950 MB")
    fetch = ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies", "-DexcludeTransitive=true"]
    zips = target / "zips"
    process.run([*fetch, f"-DoutputDirectory={zips}"], timeout=HOUR, cwd=HERE / "sonarqube")
    log("unpacking")
    unwanted = (HERE / "sonarqube" / "unwanted.txt").read_text().split()
    for archive, folder, left_out in (("sonar-application", "server", unwanted), ("sonar-scanner-cli", "scanner", [])):
        (found,) = zips.glob(f"{archive}-*.zip")
        process.run(["unzip", "-q", found, "-d", zips, *(["-x", *left_out] if left_out else [])], timeout=HOUR)
        (unpacked,) = (path for path in zips.iterdir() if path.is_dir())
        unpacked.rename(target / folder)
    shutil.rmtree(zips)
    log("packing the scanner")
    _scanner(target)


def _scanner(target: Path) -> None:
    """``scanner.tar``: what the scanner's image has on top of the base image, as one layer.

    The scanner, the server's own Java runtime, and a filled cache: the scanner looks for a file by a hash of its
    content before it asks the server for it. Owned by user 1000, who runs it.
    """
    library = target / "server" / "lib"
    home = target / "root" / "home" / "scanner"
    cached = [(file, "sha256") for file in (library / "scanner").glob("*.jar")]
    cached += [(file, "md5") for file in (library / "extensions").glob("*.jar")]
    for file, algorithm in cached:
        digest = hashlib.new(algorithm, file.read_bytes(), usedforsecurity=False).hexdigest()
        place = home / ".sonar" / "cache" / digest
        place.mkdir(parents=True)
        (place / file.name).hardlink_to(file)
    opt = target / "root" / "opt"
    (opt / "jre").mkdir(parents=True)
    (runtime,) = (target / "server" / "jres").glob("*linux*")
    process.run(["tar", "-xzf", runtime, "-C", opt / "jre", "--strip-components=1"], timeout=HOUR)
    (target / "scanner").rename(opt / "sonar-scanner")
    owned = ["--owner=1000", "--group=1000", "--mode=a+rX", "--sort=name"]
    process.run(["tar", "-cf", target / "scanner.tar", *owned, "-C", target / "root", "opt", "home"], timeout=HOUR)
    shutil.rmtree(target / "root")


def _pom_version(artifact: str) -> str:
    space = {"m": "http://maven.apache.org/POM/4.0.0"}
    root = ElementTree.parse(HERE / "sonarqube" / "pom.xml").getroot()  # noqa: S314  a file of ours
    for dependency in root.iterfind(".//m:dependency", space):
        if dependency.findtext("m:artifactId", namespaces=space) == artifact:
            return dependency.findtext("m:version", default="", namespaces=space)
    raise InfrastructureError(f"lab/sonarqube/pom.xml does not name {artifact}.")


def _base_image(target: Path, log: Log) -> None:
    """A root file system with Python 3.11 and nothing to build or fetch with, as a tar file."""
    command = (HERE / "images" / "base.txt").read_text().splitlines()
    words = [word for word in command if word and not word.startswith("#")]
    log("installing Debian packages")
    process.run(["mmdebstrap", *words, "bookworm", target / "root.tar"], timeout=HOUR, env={"LC_ALL": "C.UTF-8"})


# Compilations take turns in this order: helm first, with which the pipeline can go on while Kubernetes is compiled.
BUILDS = {
    build.name: build
    for build in (
        go("helm", "helm.sh/helm/v3"),
        # metrics-server is one of its tools: of the same version of Kubernetes' libraries, it costs 23 packages more
        go("kubernetes", "k8s.io/kubernetes"),
        Build(
            name="sonarqube",
            version=_pom_version("sonar-application"),
            manifest=HERE / "sonarqube",
            make=_sonarqube,
        ),
        Build(name="python", version="3.11", manifest=HERE / "images" / "base.txt", make=_base_image),
        go("coredns", "github.com/coredns/coredns"),
        Build(name="pause", version="1", manifest=HERE / "pause", make=_pause),
    )
}
METRICS_VERSION = go_version(HERE / "kubernetes" / "go.mod", "sigs.k8s.io/metrics-server")
SCANNER_VERSION = _pom_version("sonar-scanner-cli")
# Compilations use every core by themselves: more than two at a time only cost memory.
COMPILERS = min(2, os.cpu_count() or 1)
