"""The projects' git repositories: what is in the checkout, as separate repositories on the laboratory's server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from lab.layout import CHECKOUT, Lab
from pipeline_tools import process
from pipeline_tools.config import schema
from pipeline_tools.systems import git, packages

# Folders of the checkout that each has: alone in it they are its top folder.
PROJECTS = {"data": ("data",), "model": ("model",), "service": ("service", "chart")}
MODEL = "clasificador-modelo"
REQUIREMENTS = Path("service/requirements.txt")


def create(lab: Lab) -> None:
    """Create the bare repositories that are missing; clients may push."""
    for project in PROJECTS:
        folder = lab.dir / "git" / f"{project}.git"
        if not folder.is_dir():
            process.run(["git", "init", "--quiet", "--bare", "--initial-branch=master", folder], timeout=30)
            process.run(["git", "-C", folder, "config", "http.receivepack", "true"], timeout=30)


class Clone:
    """A developer's clone of a project, with ``develop`` checked out; by default in the laboratory's ``projects/``."""

    def __init__(self, lab: Lab, name: str, *, folder: Path | None = None) -> None:
        self.name = name
        self.folder = folder or lab.dir / "projects" / name
        platform = yaml.safe_load((lab.dir / "platform.yml").read_text(encoding="utf-8"))
        self.folder.mkdir(parents=True, exist_ok=True)
        url = f"http://{lab.at('git')}/{name}.git"
        self.server = git.Repository(self.folder, schema.Git.model_validate(platform["git"]), url=url)
        if not (self.folder / ".git").is_dir():
            self._begin(url)
        self._git("fetch", "--quiet", "--prune", "--tags", "origin")
        self._git("reset", "--quiet", "--hard", "origin/develop")
        self._git("submodule", "--quiet", "update", "--init")

    def _git(self, *words: str) -> str:
        return self.server.git(*words, timeout=120).stdout.strip()

    def _begin(self, url: str) -> None:
        """Clone it; a project that is new gets both branches, with nothing in them."""
        self._git("init", "--quiet", "--initial-branch=develop")
        self._git("remote", "add", "origin", url)
        if not self.server.refs("refs/heads/develop"):
            self._git("commit", "--quiet", "--allow-empty", "--message=Begin")
            self._git("push", "--quiet", "origin", "develop", "develop:master")

    def synchronise(self) -> None:
        """Bring what is in the checkout to ``develop``, in a commit of its own if anything differs."""
        wanted = {target: source for source, target in _tracked(PROJECTS[self.name])}
        kept = (".gitmodules", "data") if self.name == "model" else ()
        for name in self._git("ls-files").splitlines():
            if Path(name) not in wanted and name not in kept:
                (self.folder / name).unlink(missing_ok=True)
        pinned = self._pinned()
        for target, source in wanted.items():
            (self.folder / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, self.folder / target)
        if pinned:  # the line is the model pipeline's
            pinned()
        if self.name == "model":
            self.use_data()
        self.commit("Bring what is in the checkout")

    def commit(self, message: str) -> None:
        """Commit what differs, if anything does, and push it to ``develop``."""
        self._git("add", "--all")
        if self._git("status", "--porcelain"):
            self._git("commit", "--quiet", f"--message={message}")
            self._git("push", "--quiet", "origin", "develop")

    def _pinned(self) -> Callable[[], None] | None:
        """What writes the pinned version into the requirements again; None: none is pinned yet."""
        file = self.folder / REQUIREMENTS
        if self.name != "service" or not file.is_file():
            return None
        line = packages.lines(file.read_text(encoding="utf-8"), MODEL)[0]

        def write() -> None:
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(packages.lines(text, MODEL)[0], line), encoding="utf-8")

        return write

    def use_data(self) -> None:
        """Have the promoted commit of the data as a submodule."""
        data = self.folder / "data"
        if not data.exists():
            self._git("submodule", "--quiet", "add", "--branch", "master", "../data.git", "data")
        self._git("submodule", "--quiet", "update", "--init", "--remote", "data")

    def accept(self) -> None:
        """Merge what was proposed on top of ``develop``, as whoever reviews it would."""
        self._git("fetch", "--quiet", "--prune", "origin")
        for line in self._git("branch", "--remotes", "--list", "origin/pin/*", "--no-merged", "develop").splitlines():
            branch = line.strip()
            if self.server.is_ancestor("develop", branch):
                self._git("merge", "--quiet", "--ff-only", branch)
                self._git("push", "--quiet", "origin", "develop")
                print(f"accepted {branch.removeprefix('origin/')}")  # noqa: T201


def _tracked(folders: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """Each tracked file of folders of the checkout, and where it is in the project's repository."""
    for file in git.files(CHECKOUT, *folders):
        yield CHECKOUT / file, file if len(folders) > 1 else file.relative_to(folders[0])
