"""The Docker engine: build from a context that we pack ourselves, push, and ask a registry's digest."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
import urllib3
from docker.errors import DockerException, StreamParseError
from docker.utils.build import exclude_paths

from pipeline_tools import secrets
from pipeline_tools.config import schema
from pipeline_tools.errors import InfrastructureError, PipelineError
from pipeline_tools.failures import explained
from pipeline_tools.masking import LineStream, mask

# The engine answers at once; a build step or a layer on its way may be silent for long.
TIMEOUT = 600
# The engine colours what goes to standard error.
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What a container is started with. The engine keeps more in an image's configuration: the build's container, its host.
STARTED_WITH = frozenset(
    ("User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "Healthcheck")
)
# What an image that is made of the same things says of its age, whenever it was built.
EPOCH = "1970-01-01T00:00:00Z"
# What docker-py raises; the last three, where the connection breaks: before the answer and in the middle of it.
TROUBLE = (DockerException, requests.RequestException, urllib3.exceptions.HTTPError, StreamParseError)
# How an engine calls containerd's image store, which is the default of new engines from version 29 on.
CONTAINERD = ["driver-type", "io.containerd.snapshotter.v1"]


def context_files(folder: Path, dockerfile: str) -> list[Path]:
    """The files that belong to the build, relative to ``folder``: all but those that .dockerignore leaves out."""
    ignore = folder / ".dockerignore"
    patterns = [".pipeline", ".git"]
    if ignore.is_file():
        lines = (line.strip() for line in ignore.read_text(encoding="utf-8").splitlines())
        patterns += [line for line in lines if line and not line.startswith("#")]
    names = exclude_paths(str(folder), patterns, dockerfile=dockerfile)
    return sorted(Path(name) for name in names if (folder / name).is_file())


def pack(files: Iterable[tuple[str, Path]]) -> io.BytesIO:
    """A tar of the files (name inside, path) whose bytes depend on names, modes and contents only."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sorted(files):
            info = archive.gettarinfo(path, arcname=name)
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            info.mode = 0o755 if info.mode & 0o100 else 0o644
            with path.open("rb") as file:
                archive.addfile(info, file)
    packed.seek(0)
    return packed


def _tar(files: Mapping[str, bytes]) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    packed.seek(0)
    return packed


class Engine:
    """A Docker engine, and the user that it pushes and pulls as.

    Raises:
        InfrastructureError: the engine does not answer.
        CredentialError: the registry refused the user.
    """

    def __init__(self, settings: schema.Docker, artifactory: schema.Artifactory) -> None:
        try:
            if settings.host:
                self._client = docker.DockerClient(base_url=settings.host, timeout=TIMEOUT)
            else:
                self._client = docker.from_env(timeout=TIMEOUT)
            self._client.ping()
        except TROUBLE as error:
            raise InfrastructureError(
                f"The Docker engine at {settings.host or 'the default address'} does not answer.",
                hint="Start it, or set docker.host to the address of one that runs.",
                details=mask(str(error)),
            ) from error
        self._artifactory = artifactory

    def version(self) -> str:
        """The engine's version."""
        with _asking("tell its version"):
            return str(self._client.version()["Version"])

    def _auth(self) -> dict[str, str]:
        username, password = self._artifactory.username, self._artifactory.password
        return {"username": secrets.resolve(username, masked=False), "password": secrets.resolve(password)}

    def build(
        self,
        context: io.BytesIO,
        *,
        dockerfile: str,
        tag: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        cache: bool,
        log: Callable[[str], None],
    ) -> str:
        """Build an image; returns its id (``sha256:…``), which depends on its layers and settings alone.

        With containerd's image store it depends on the time of the build as well.
        Without ``cache`` no layer of an earlier build is taken.

        Raises:
            PipelineError: of the class that `failures` knows for what the engine says; with the output's tail.
        """
        output = LineStream()
        tail: deque[str] = deque(maxlen=20)
        image = ""

        def show(lines: Iterable[str]) -> None:
            for line in filter(str.strip, lines):
                tail.append(line)
                log(line.rstrip())

        with _asking("build the image"):
            # the base image may come from our registry; docker-py keeps the login in memory only
            registry = (self._artifactory.docker or "").partition("/")[0]
            self._client.login(**self._auth(), registry=registry, reauth=True)
            stream = self._client.api.build(
                fileobj=context,
                custom_context=True,
                dockerfile=dockerfile,
                tag=tag,
                buildargs=dict(arguments),
                labels=dict(labels),
                nocache=not cache,
                rm=True,
                forcerm=True,
                decode=True,
            )
            for part in stream:
                if "error" in part:
                    show(output.flush())
                    raise explained(
                        "docker",
                        "\n".join([*tail, part["error"].strip()]),
                        f"The image could not be built: {mask(part['error'].strip())}",
                    )
                show(output.feed(COLOURS.sub("", str(part.get("stream", ""))).encode()))
                image = part.get("aux", {}).get("ID", image)
            show(output.flush())
            if not image:
                raise InfrastructureError("The Docker engine did not say which image it built.")
            if CONTAINERD in (self._client.info().get("DriverStatus") or []):
                log("the engine has containerd's image store: the image is left with the time of its build")
                return image
        return self._timeless(image, tag)

    def _timeless(self, image: str, tag: str) -> str:
        """The same layers under ``tag`` without what differs from build to build; returns the new image's id.

        The engine takes a configuration (OCI image specification, 1.1) for layers that it has. With containerd's image
        store it does not: there it wants the layers as well.
        """
        with _asking("settle the image"):
            found = self._client.images.get(image).attrs
            config = {
                "architecture": found["Architecture"],
                "os": found["Os"],
                "created": EPOCH,
                "config": {name: value for name, value in found["Config"].items() if name in STARTED_WITH and value},
                "rootfs": {"type": "layers", "diff_ids": found["RootFS"]["Layers"]},
            }
            content = json.dumps(config, sort_keys=True).encode()
            name = hashlib.sha256(content).hexdigest()
            layers = [f"{layer}.tar" for layer in found["RootFS"]["Layers"]]
            manifest = [{"Config": f"{name}.json", "RepoTags": [tag], "Layers": layers}]
            self._client.images.load(_tar({f"{name}.json": content, "manifest.json": json.dumps(manifest).encode()}))
        return f"sha256:{name}"

    def push(self, repository: str, tag: str, *, log: Callable[[str], None]) -> str:
        """Push ``repository:tag``; returns the digest (``sha256:…``) under which the registry holds it."""
        digest = ""
        with _asking(f"push {repository}:{tag}"):
            for part in self._client.api.push(repository, tag, auth_config=self._auth(), stream=True, decode=True):
                if "error" in part:
                    raise _failure(f"push {repository}:{tag}", part["error"])
                if part.get("status") in ("Pushed", "Layer already exists", "Mounted from"):
                    log(f"{part['status'].lower()} {part.get('id', '')}")
                digest = part.get("aux", {}).get("Digest", digest)
        if not digest:
            raise InfrastructureError(f"The registry gave no digest for {repository}:{tag}.")
        return digest

    def size(self, image: str) -> int:
        """The image's size in bytes, unpacked."""
        with _asking(f"inspect {image}"):
            return int(self._client.images.get(image).attrs["Size"])


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """What goes wrong in this block becomes an error of ours that says what could not be done."""
    try:
        yield
    except TROUBLE as error:
        raise _failure(what, error) from error


def _failure(what: str, said: object) -> PipelineError:
    return explained("docker", str(said), f"Docker could not {what}.")


def platforms() -> Sequence[str]:
    """The wheel platforms that run on Debian 12 and newer, best first."""
    return [*(f"manylinux_2_{minor}_x86_64" for minor in (36, 34, 31, 28, 17)), "manylinux2014_x86_64"]
