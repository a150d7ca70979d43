"""Artifacts on disk: ``data/REPOSITORY/PATH``, with their checksums and properties in a JSON file beside them."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

META = ".artifact.json"


class InvalidPathError(ValueError):
    """The path leaves the repository, or is no path of an artifact."""


class ChecksumError(ValueError):
    """The content is not what the client said that it would be."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """What is known of an artifact; ``created`` is ISO 8601, ``size`` in bytes."""

    repository: str
    path: str
    size: int
    md5: str
    sha1: str
    sha256: str
    created: str
    created_by: str
    properties: Mapping[str, list[str]]


class Store:
    """The artifacts below one folder. A write is complete or did not happen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "_incoming").mkdir(parents=True, exist_ok=True)
        for abandoned in (folder / "_incoming").iterdir():
            abandoned.unlink()

    def path(self, repository: str, path: str) -> Path:
        """Where an artifact's content is.

        Raises:
            InvalidPathError: the path has empty, ``.`` or ``..`` parts, a NUL, or is one of our own files.
        """
        parts = path.split("/")
        if any(part in ("", ".", "..") or "\0" in part or "\\" in part or len(part.encode()) > 200 for part in parts):
            raise InvalidPathError(path)
        if parts[-1].endswith(META):
            raise InvalidPathError(path)
        return self._folder / repository / PurePosixPath(path)

    def get(self, repository: str, path: str) -> Artifact | None:
        """The artifact at a path; None when there is none."""
        content = self.path(repository, path)
        try:
            return Artifact(**json.loads(content.with_name(content.name + META).read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def children(self, repository: str, path: str) -> list[tuple[str, bool]]:
        """Names of what is in a folder, and whether each is a folder itself; empty when there is no such folder.

        Raises:
            InvalidPathError: as `path`.
        """
        folder = self.path(repository, path)
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return [(child.name, child.is_dir()) for child in found if not child.name.endswith(META)]

    def all(self, repository: str) -> Iterator[Artifact]:
        """Every artifact of a repository, by path."""
        for meta in sorted((self._folder / repository).rglob(f"*{META}")):
            yield Artifact(**json.loads(meta.read_text(encoding="utf-8")))

    async def receive(
        self,
        repository: str,
        path: str,
        content: AsyncIterator[bytes],
        *,
        expected: Mapping[str, str],
        properties: Mapping[str, list[str]],
        user: str,
    ) -> Artifact:
        """Store content as it streams in.

        Args:
            expected: digests in hex that the client announced, by algorithm (``sha256``).

        Raises:
            InvalidPathError, ChecksumError: nothing was stored.
        """
        target = self.path(repository, path)
        incoming = self._folder / "_incoming" / secrets.token_hex(8)
        digests = {name: hashlib.new(name, usedforsecurity=False) for name in ("md5", "sha1", "sha256")}
        size = 0
        try:
            with incoming.open("wb") as file:
                async for chunk in content:
                    size += len(chunk)
                    for digest in digests.values():
                        digest.update(chunk)
                    file.write(chunk)
            found = {name: digest.hexdigest() for name, digest in digests.items()}
            for name, wanted in expected.items():
                if wanted.lower() != found[name]:
                    raise ChecksumError(f"Checksum error: received {name} {found[name]}, announced {wanted}")
            artifact = Artifact(
                repository=repository,
                path=path,
                size=size,
                **found,
                created=datetime.now(UTC).isoformat(timespec="milliseconds"),
                created_by=user,
                properties=dict(properties),
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            incoming.replace(target)
            self._describe(target, artifact)
            return artifact
        finally:
            incoming.unlink(missing_ok=True)

    def set_properties(self, artifact: Artifact, properties: Mapping[str, list[str]]) -> None:
        """Add to an artifact's properties, or replace those of the same name."""
        merged = {**asdict(artifact), "properties": {**artifact.properties, **properties}}
        self._describe(self.path(artifact.repository, artifact.path), Artifact(**merged))

    def delete(self, artifact: Artifact) -> None:
        """Remove an artifact."""
        content = self.path(artifact.repository, artifact.path)
        content.with_name(content.name + META).unlink(missing_ok=True)
        content.unlink(missing_ok=True)

    def _describe(self, target: Path, artifact: Artifact) -> None:
        beside = self._folder / "_incoming" / secrets.token_hex(8)
        beside.write_text(json.dumps(asdict(artifact)), encoding="utf-8")
        beside.replace(target.with_name(target.name + META))
