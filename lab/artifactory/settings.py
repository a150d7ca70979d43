"""The server's configuration file, checked, and its users."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict

Role = Literal["reader", "deployer", "admin"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class User(_Section):
    """Who may do what: readers read, deployers also add, admins also overwrite and delete."""

    name: str
    password_file: Path
    roles: tuple[Role, ...]


class Repository(_Section):
    """A repository and what kind of clients it serves; docker and helmoci content lives in the registry."""

    name: str
    type: Literal["generic", "pypi", "helm", "docker"]


class Settings(_Section):
    """The file; ``listen`` is HOST:PORT, ``data`` the artifacts' folder, ``registry`` the URL behind ``/v2/``."""

    listen: str
    data: Path
    registry: str
    users: tuple[User, ...]
    repositories: tuple[Repository, ...] = (
        Repository(name="generic-local", type="generic"),
        Repository(name="pypi-local", type="pypi"),
        Repository(name="helm-local", type="helm"),
        Repository(name="docker-local", type="docker"),
    )


def read(path: Path) -> Settings:
    """Read the file; raises pydantic's ValidationError when it is wrong."""
    return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


class Users:
    """Who the caller is, by basic authentication."""

    def __init__(self, users: tuple[User, ...]) -> None:
        self._users = {user.name: (user.password_file.read_text(encoding="utf-8").strip(), user) for user in users}

    def authenticate(self, authorization: str) -> User | None:
        """The user of an Authorization header; None when it is absent, malformed or wrong."""
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        wanted, user = self._users.get(name, ("", None))
        same = hmac.compare_digest(password.encode(), wanted.encode())  # in constant time, for unknown names too
        return user if same and user is not None else None
