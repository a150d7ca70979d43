"""The images that the laboratory brings: what production takes from a public registry."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any, cast

import docker

from lab import builds, world
from lab.layout import HERE, Lab
from pipeline_tools.errors import InfrastructureError

PAUSE = "localhost/pause:1"
SCANNER_DOCKERFILE = HERE / "images" / "scanner" / "Dockerfile"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base(lab: Lab) -> str:
    """Name of the base image for services."""
    return f"{lab.at('artifactory')}/docker-local/python:3.11-slim-bookworm"


def scanner(lab: Lab) -> str:
    """Name of the image with SonarQube's scanner: another for each build, for a node keeps what it has by name."""
    build = builds.BUILDS["sonarqube"]
    key = _digest(build.folder(lab.builds).name.encode() + SCANNER_DOCKERFILE.read_bytes())[:8]
    return f"{lab.at('artifactory')}/docker-local/sonar-scanner:{builds.SCANNER_VERSION}-for-{build.version}-{key}"


def import_pause(lab: Lab) -> None:
    """Give containerd the image that holds a pod's namespaces: one static program."""
    if PAUSE in world.inside(lab, "ctr", "--namespace=k8s.io", "images", "ls", "--quiet").split():
        return
    program = builds.BUILDS["pause"].folder(lab.builds) / "pause"
    layer = _tar({"pause": program.read_bytes()})
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{_digest(layer)}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    files = {
        "config.json": json.dumps(config).encode(),
        "layer.tar": layer,
        "manifest.json": json.dumps(manifest).encode(),
    }
    world.inside(lab, "ctr", "--namespace=k8s.io", "images", "import", "-", stdin=_tar(files))


def push_base(lab: Lab) -> None:
    """Import the base image into the Docker engine and push it, unless it has this very build."""
    client, name = _client(lab), base(lab)
    build = builds.BUILDS["python"].folder(lab.builds)
    changes = ["CMD python3", f"ENV PATH={PATH}", "ENV LANG=C.UTF-8"]
    key = f"{build.name}-{_digest('|'.join(changes).encode())[:8]}"
    if not _current(client, name, key):
        changes.append(f"LABEL build={key}")
        client.import_image_from_file(
            str(build / "root.tar"), repository=name.rpartition(":")[0], tag=name.rpartition(":")[2], changes=changes
        )
        _push(lab, client, name)


def push_scanner(lab: Lab) -> None:
    """Build the scanner's image and push it, unless the Docker engine has this very build."""
    client, name = _client(lab), scanner(lab)
    key = name.rpartition(":")[2]
    if _current(client, name, key):
        return
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        archive.add(SCANNER_DOCKERFILE, "Dockerfile")
        archive.add(builds.BUILDS["sonarqube"].folder(lab.builds) / "scanner.tar", "scanner.tar")
    context.seek(0)
    arguments = {"BASE_IMAGE": base(lab)}
    stream = client.build(
        fileobj=context, custom_context=True, tag=name, buildargs=arguments, labels={"build": key}, decode=True, rm=True
    )
    _finish(stream, f"The image {name} could not be built")
    _push(lab, client, name)


def _client(lab: Lab) -> docker.APIClient:
    return docker.APIClient(base_url=f"unix://{lab.run / 'docker.sock'}", timeout=600)


def _current(client: docker.APIClient, name: str, build: str) -> bool:
    try:
        found = client.inspect_image(name)  # type: ignore[no-untyped-call]
    except docker.errors.ImageNotFound:
        return False
    return bool((found["Config"].get("Labels") or {}).get("build") == build)


def _push(lab: Lab, client: docker.APIClient, name: str) -> None:
    user = {"username": "ci", "password": (lab.credentials / "artifactory-password").read_text().strip()}
    _finish(client.push(name, stream=True, decode=True, auth_config=user), f"The image {name} could not be pushed")


def _finish(stream: Any, complaint: str) -> None:
    tail: list[str] = []
    for entry in cast("list[dict[str, Any]]", stream):
        tail.append(str(entry.get("stream", "")).rstrip())
        if "error" in entry:
            raise InfrastructureError(f"{complaint}: {entry['error']}", details="\n".join(tail[-10:]))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
