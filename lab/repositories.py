"""The projects' git repositories."""

from __future__ import annotations

from lab.layout import Lab
from pipeline_tools import process

PROJECTS = ("data", "model", "service", "chart")


def create(lab: Lab) -> None:
    """Create the bare repositories that are missing; clients may push."""
    for project in PROJECTS:
        folder = lab.dir / "git" / f"{project}.git"
        if not folder.is_dir():
            process.run(["git", "init", "--quiet", "--bare", "--initial-branch=master", folder], timeout=30)
            process.run(["git", "-C", folder, "config", "http.receivepack", "true"], timeout=30)
