"""The folder in which processes count, for Prometheus, and which files of it are whose.

Nothing here may import prometheus-client, which looks for the folder when it is imported.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "servicio-counts-"

_name = "main"


def make(parent: Path | None) -> Path:
    """Make it, and remove those of services that are gone.

    It is locked for as long as one of its processes lives: they inherit the lock when they are forked.
    """
    # it gets its real name when it is locked: who looks for what was left must not take it for that
    folder = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    _lock(folder)
    folder = folder.rename(folder.with_name(folder.name[1:]))
    for left in folder.parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is in use, or somebody else's, or has just been removed
            os.close(_lock(left))
            shutil.rmtree(left)
    os.environ[VARIABLE] = str(folder)
    return folder


def go_on() -> None:
    """Have the files of a worker that is gone, with what it has counted.

    New ones for each worker that there ever was would fill the memory that they are in. A worker that is about to end
    may live beside the one that replaces it: each has its own.
    """
    global _name
    for number in count():
        lock = Path(os.environ[VARIABLE]) / f"{number}.lock"
        lock.touch()
        with suppress(BlockingIOError):
            _lock(lock)
            _name = f"worker-{number}"
            return


def name() -> str:
    """Of this process, in its files' names."""
    return _name


def _lock(path: Path) -> int:
    """The file descriptor, with which the lock goes; BlockingIOError when another process has it."""
    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file
