"""The platform file that describes the laboratory to `pipeline-tools`, and the user's own servers in place of parts."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import yaml

from lab import images
from lab.layout import NODE_IP, Lab, secret, write_secret
from pipeline_tools.errors import ConfigError

USERS = {"ci": "artifactory-password", "reader": "artifactory-reader-password", "admin": "artifactory-admin-password"}
# Which keys of a user's platform file stand for a part.
TELLING = {
    "docker": ("host",),
    "kubernetes": ("kubeconfig", "context"),
    "sonarqube": ("url",),
    "artifactory": ("url",),
}
# A pod must need less than half of what it requests, or the chart's autoscaler adds pods without any load.
SMALL = {
    "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    "autoscaling": {"minReplicas": 2, "maxReplicas": 4},
}


def read(file: Path) -> dict[str, Any]:
    """The sections of a user's platform file that name a server of theirs.

    Raises:
        ConfigError: the file is not what it should be.
    """
    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"The platform file {file} cannot be read.", details=str(error)) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file} is not made of sections, such as `sonarqube: {{url: …}}`.")
    values.pop("locked", None)  # a list of keys
    for name, section in values.items():
        if not isinstance(section, dict):
            raise ConfigError(f"{file}: `{name}` must be a section, such as `sonarqube: {{url: …}}`.")
    return {name: section for name, section in values.items() if any(section.get(key) for key in TELLING.get(name, ()))}


def own(lab: Lab, given: Path | None = None) -> dict[str, Any]:
    """The user's own servers: of the file given now, or else of the one that was remembered; until ``reset``."""
    remembered = lab.dir / "own.yml"
    if given is not None:
        return read(given)
    return read(remembered) if remembered.is_file() else {}


def remember(lab: Lab, servers: dict[str, Any]) -> None:
    """Keep the user's own servers for the next `up`."""
    _write(lab.dir / "own.yml", yaml.safe_dump(servers))


def make_credentials(lab: Lab) -> None:
    """Make the passwords that are not there yet."""
    for file in USERS.values():
        secret(lab.credentials / file, secrets.token_urlsafe(24))
    write_secret(lab.credentials / "artifactory-user", "ci")
    write_secret(lab.credentials / "artifactory-reader-user", "reader")
    write_secret(lab.credentials / "git-user", "ci")
    password = secret(lab.credentials / "git-password", secrets.token_urlsafe(24))
    write_secret(lab.credentials / ".git-users", f"ci:{password}\n")


def write(lab: Lab) -> None:
    """Write ``platform.yml`` and the overlay of small sizes that it names."""
    theirs = own(lab)
    host = lab.at("artifactory")
    values: dict[str, Any] = {
        "docker": {"host": f"unix://{lab.run / 'docker.sock'}"},
        "artifactory": {
            "url": f"http://{host}/artifactory",
            "username": f"file:{lab.credentials / 'artifactory-user'}",
            "password": f"file:{lab.credentials / 'artifactory-password'}",
            "docker": f"{host}/docker-local",
            "helm": f"oci://{host}/helm-local",
            "pypi": "pypi-local",
            "generic": "generic-local",
            "insecure": True,
        },
        "sonarqube": {"url": f"http://{lab.at('sonarqube')}", "token": f"file:{lab.credentials / 'sonar-token'}"},
        "git": {
            "username": f"file:{lab.credentials / 'git-user'}",
            "password": f"file:{lab.credentials / 'git-password'}",
        },
        "kubernetes": {"kubeconfig": str(lab.credentials / "kubeconfig"), "context": "lab"},
        "scan": {"namespace": "scan"},
        "environments": {name: _environment(lab, name) for name in ("test", "prod")},
    }
    if not {"docker", "artifactory"} & theirs.keys():
        values["image"] = {"build_args": {"BASE_IMAGE": images.base(lab)}}
        values["scan"]["image"] = images.scanner(lab)
    if "sonarqube" not in theirs:
        values["scan"]["server_url_in_pod"] = f"http://{NODE_IP}:{lab.ports['sonarqube']}"
    if "kubernetes" in theirs:
        del values["scan"]["namespace"], values["environments"]
    header = "# Written by `pipeline-tools lab up`. Use it: export PIPELINE_TOOLS_PLATFORM=" + str(
        lab.dir / "platform.yml"
    )
    _write(lab.dir / "platform.yml", f"{header}\n{yaml.safe_dump(values | theirs, sort_keys=False)}")
    _write(lab.dir / "small.yaml", f"# Sizes for a small machine.\n{yaml.safe_dump(SMALL)}")


def _environment(lab: Lab, name: str) -> dict[str, Any]:
    settings = {"service.type": "NodePort", "service.nodePort": str(lab.ports[name])}
    deploy = {"namespace": name, "overlays": [str(lab.dir / "small.yaml")], "settings": settings}
    return {"deploy": deploy, "verify": {"url": f"http://127.0.0.1:{lab.ports[name]}"}}


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)
