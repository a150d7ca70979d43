"""The files that a step reads, each with an id of its content: the one that git gives a file with these very bytes.

So a change has the same id before and after it is committed, and for what git says is as in its index, git's word is
taken: nothing is read. What git cannot vouch for is read once, and again when its size, times or place on the disk are
others than those in `.pipeline/files.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pipeline_tools.errors import ConfigError
from pipeline_tools.ledger import FOLDER, read_json, replace
from pipeline_tools.systems import git

CACHE = "files.json"
# A file that changed less than this before it was read may change again with the same times, in seconds: the coarsest
# clock of a file system.
UNSETTLED = 2.0
CHUNK = 1 << 20

# Size, time of the last change of content and of status (ns), inode.
_Status = tuple[int, int, int, int]
_Content = tuple[int, int, int, int, str]


class Reads:
    """What steps of a project read; safe to use from several threads."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._cache = _Cache(project / FOLDER / CACHE)
        self._looking = threading.Lock()
        self._state = threading.Lock()
        self._known: dict[tuple[str, ...], dict[str, str]] = {}
        self._at_work = 0
        self._changes = 0

    def of(self, paths: Iterable[str]) -> dict[str, str]:
        """Name and id of every file at or below ``paths``, sorted; all names are relative to the project.

        Files are those that git tracks, those that it neither tracks nor ignores, those of submodules, and whatever
        ``paths`` names itself. The id of a program ends with ``+x``; that of a link is where it points to, and the id
        of the file that it finds there; of a folder there it says nothing.
        """
        asked = tuple(sorted(set(paths)))
        if not asked:
            return {}
        if "." in asked and len(asked) > 1:  # most steps read all: one look is for all of them
            found, more = self.of(["."]), self.of([path for path in asked if path != "."])
            return found if more.keys() <= found.keys() else dict(sorted({**found, **more}.items()))
        with self._looking:
            with self._state:
                if asked in self._known:
                    return self._known[asked]
                changes = self._changes
            found = self._look(asked)
            with self._state:
                if not self._at_work and changes == self._changes:
                    self._known[asked] = found
            return found

    @contextmanager
    def changing(self) -> Iterator[None]:
        """In this block a step is at work, and files may change at any moment; else one look is enough for all."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def _change(self, by: int) -> None:
        with self._state:
            self._at_work += by
            self._changes += 1
            self._known.clear()

    def _look(self, paths: Sequence[str]) -> dict[str, str]:
        listed = git.listing(self._project, paths)
        found = listed.clean | self._cache.identities(self._project, listed.others, listed.algorithm)
        return dict(sorted(found.items()))


class _Cache:
    """The ids of contents that were read, by the name and status of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._algorithm = ""
        self._kept: dict[str, _Content] = {}

    def identities(self, project: Path, names: Sequence[str], algorithm: str) -> dict[str, str]:
        """The id of each file of ``names`` that is there."""
        found: dict[str, str] = {}
        unknown: list[tuple[str, str, os.stat_result]] = []
        if names and algorithm != self._algorithm:
            self._algorithm, self._kept = algorithm, self._load(algorithm)
        for name in names:
            target, info = _look_at(f"{project}/{name}")
            if info is not None and stat.S_ISREG(info.st_mode):
                before = self._kept.get(name)
                if before is None or before[:-1] != _status(info):
                    unknown.append((name, target, info))
                else:
                    found[name] = target + before[-1] + _ending(info)
            elif target:
                found[name] = target.rstrip()
        if unknown:
            for (name, target, info), (identity, settled) in zip(unknown, self._read(project, unknown), strict=True):
                found[name] = target + identity + _ending(info)
                self._kept.pop(name, None)
                if settled:
                    self._kept[name] = (*settled, identity)
            self._save(project)
        return found

    def _read(
        self, project: Path, files: Sequence[tuple[str, str, os.stat_result]]
    ) -> Iterator[tuple[str, _Status | None]]:
        """The contents of ``files``, in their order: large ones side by side; with small ones that takes longer."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            large = {
                name: pool.submit(_read, project / name, self._algorithm)
                for name, _, info in files
                if info.st_size >= CHUNK
            }
            for name, _, _ in files:
                yield large[name].result() if name in large else _read(project / name, self._algorithm)

    def _load(self, algorithm: str) -> dict[str, _Content]:
        content = read_json(self._path)
        try:
            files = content["files"] if content["algorithm"] == algorithm else {}
            return {name: (a, b, c, d, str(identity)) for name, (a, b, c, d, identity) in files.items()}
        except (KeyError, TypeError, ValueError, AttributeError):
            return {}  # it is only a cache

    def _save(self, project: Path) -> None:
        self._kept = {name: content for name, content in self._kept.items() if (project / name).exists()}
        content = {"algorithm": self._algorithm, "files": self._kept}
        replace(self._path, json.dumps(content, separators=(",", ":")))


def _look_at(path: str) -> tuple[str, os.stat_result | None]:
    """Where a link points to, or nothing; and what is there at last, if there is something."""
    target = ""
    try:
        info = os.lstat(path)
        if stat.S_ISLNK(info.st_mode):
            target = f"-> {os.readlink(path)} "  # noqa: PTH115 — there may be 100,000 of them
            info = os.stat(path)  # noqa: PTH116
    except OSError:
        return target, None
    return target, info


def _status(info: os.stat_result) -> _Status:
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


def _ending(info: os.stat_result) -> str:
    return "+x" if info.st_mode & stat.S_IXUSR else ""


def _read(path: Path, algorithm: str) -> tuple[str, _Status | None]:
    """The id of a file's content, and its status; no status if it may have changed since without a trace."""
    begun = time.time()
    try:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            content = hashlib.new(algorithm, b"blob %d\0" % before.st_size, usedforsecurity=False)
            while chunk := file.read(CHUNK):
                content.update(chunk)
            after = os.fstat(file.fileno())
    except OSError as error:
        raise ConfigError(f"{path}, which a step reads, cannot be read: {error.strerror}.") from error
    settled = max(before.st_mtime, before.st_ctime) < begun - UNSETTLED
    return content.hexdigest(), _status(before) if settled and _status(before) == _status(after) else None
