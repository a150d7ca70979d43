"""Credentials are references, never values: ``env:NAME``, ``file:PATH`` or ``secret:NAMESPACE/NAME/KEY``."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tools import masking
from pipeline_tools.errors import ConfigError, CredentialError

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Kubernetes as Settings
    from pipeline_tools.systems.kubernetes import Kubernetes

REFERENCE_PATTERN = r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+|secret:[^/]+/[^/]+/[^/]+"


class _Cluster:
    """The cluster whose Secrets are read, connected to when the first one is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def connection(self) -> Kubernetes:
        from pipeline_tools.systems.release import connect

        return connect(self._settings)


_clusters: list[_Cluster] = []


def read_from(settings: Settings) -> None:
    """From now on read a Kubernetes Secret from this cluster, in the whole process: a step's, or the command's."""
    _clusters[:] = [_Cluster(settings)]


def resolve(reference: str, *, masked: bool = True) -> str:
    """The value that ``reference`` points to; it is masked in all output from now on.

    Args:
        reference: ``env:NAME``, ``file:PATH`` (``~`` is expanded), or ``secret:NAMESPACE/NAME/KEY``, a key of a
            Kubernetes Secret in the cluster that `read_from` was told. Of the last two one trailing newline is dropped.
        masked: False for the name of a user, which may be an everyday word such as ``test``.

    Raises:
        ConfigError: the reference has none of these forms.
        CredentialError: there is nothing where it points to, or something that is no text.
        InfrastructureError: the cluster does not answer.
    """
    value = _value(reference)
    try:
        value.encode()
    except UnicodeEncodeError:  # what cannot be found in the output of a program cannot be masked there
        raise CredentialError(
            f"The credential {reference} is not UTF-8 text.", hint="Save it as UTF-8, or choose another one."
        ) from None
    if masked:
        masking.register(value)
    return value


def check_file(path: Path) -> None:
    """Look whether a file that is a credential as a whole (a kubeconfig) can be read.

    Raises:
        CredentialError: it cannot, or is empty.
    """
    _value(f"file:{path}")


def _value(reference: str) -> str:
    kind, _, rest = reference.partition(":")
    if kind == "env" and rest:
        value = os.environ.get(rest, "")
        if not value:
            raise CredentialError(
                f"The environment variable {rest} is not set.",
                hint=f"Set {rest}, or point the key to another place with file:PATH or secret:NAMESPACE/NAME/KEY.",
            )
    elif kind == "file" and rest:
        path = Path(rest).expanduser()
        try:
            value = path.read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialError(
                f"The credential file {path} cannot be read: {error}.",
                hint="Create it with only the credential inside (mode 0600), or correct the reference.",
            ) from error
        if not value:
            raise CredentialError(f"The credential file {path} is empty.", hint="Write the credential into it.")
    elif kind == "secret" and rest.count("/") == 2:
        if not _clusters:
            raise ConfigError(
                f"{reference}: a Kubernetes Secret cannot be read here.", hint="Use env:NAME or file:PATH for this key."
            )
        namespace, name, key = rest.split("/")
        value = _clusters[0].connection.read_secret(namespace, name, key).removesuffix("\n")
        if not value:
            raise CredentialError(f"The key {key} of the Secret {namespace}/{name} is empty.")
    else:
        # the text itself may be a secret that someone pasted: do not repeat it
        raise ConfigError(
            "A credential must be a reference, not a value.",
            hint="Write env:NAME, file:PATH or secret:NAMESPACE/NAME/KEY.",
        )
    return value
