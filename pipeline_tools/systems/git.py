"""Git: which files belong to the project, and which commit this is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline_tools.errors import ConfigError
from pipeline_tools.process import ProcessFailed, run

TIMEOUT = 60.0


@dataclass(frozen=True, kw_only=True)
class Revision:
    """The commit that is checked out; ``branch`` is empty on a detached head, ``dirty`` tells of tracked changes."""

    commit: str
    branch: str
    dirty: bool


def revision(folder: Path) -> Revision:
    """What is checked out in ``folder``; the work tree outside of it does not make it dirty.

    Raises:
        ConfigError: it is not in a git work tree, or there is no commit yet.
    """
    try:
        commit = run(["git", "rev-parse", "HEAD"], cwd=folder, timeout=TIMEOUT).stdout.strip()
    except ProcessFailed as error:
        raise ConfigError(
            f"{folder} is not in a git repository with a commit.",
            hint="The pipeline works on what git tracks: `git init`, `git add`, `git commit` first.",
            details=error.details,
        ) from error
    branch = run(["git", "branch", "--show-current"], cwd=folder, timeout=TIMEOUT).stdout.strip()
    status = run(["git", "status", "--porcelain", "--untracked-files=no", "."], cwd=folder, timeout=TIMEOUT)
    return Revision(commit=commit, branch=branch, dirty=bool(status.stdout.strip()))


def files(folder: Path, *pathspecs: str, untracked: bool = False) -> list[Path]:
    """The tracked files below ``folder`` (or at the pathspecs, which may lie outside), sorted, relative to it.

    Args:
        untracked: also those that git does not track and does not ignore.
    """
    argv = ["git", "ls-files", "-z", "--cached", *(["--others", "--exclude-standard"] if untracked else [])]
    listed = run([*argv, "--", *pathspecs], cwd=folder, timeout=TIMEOUT).stdout.rstrip("\n")
    paths = {Path(name) for name in listed.split("\0") if name}
    return sorted(path for path in paths if (folder / path).is_file())
