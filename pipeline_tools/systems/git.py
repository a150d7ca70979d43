"""Git: which files belong to the project, which commit this is, what its version is; and the server it came from."""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit, urlunsplit

from pipeline_tools import masking, secrets
from pipeline_tools.config import schema
from pipeline_tools.errors import ConfigError, PipelineError
from pipeline_tools.failures import explained
from pipeline_tools.process import ProcessFailed, Result, run
from pipeline_tools.step import GIT, Credential

TIMEOUT = 60.0
# Of a work tree with 100,000 files.
LISTING = 600.0
# How many paths are named on a command line.
MOST_PATHS = 500
# What goes over the network may be a whole repository.
TRANSFER = 900.0
# The version of a project without any tag.
FIRST = (0, 1, 0)
# Answers git's question for a user and a password from variables, and only `get`: it stores nothing.
_HELPER = (
    '!f() { test "$1" != get || '
    'printf "username=%s\\npassword=%s\\n" "$PIPELINE_TOOLS_GIT_USERNAME" "$PIPELINE_TOOLS_GIT_PASSWORD"; }; f'
)

_ENTRY = re.compile(r"(\w) (\d+) ([0-9a-f]+) \d\t([^\0]*)\0")
_PROGRAM, _LINK, _SUBMODULE = "100755", "120000", "160000"
_STATUS = ("--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=all")
_SETTINGS = r"^(core\.(autocrlf|filemode)|extensions\.objectformat)$"
_NO = ("false", "no", "off", "0")
# Leaves out the files that are checked out with the very bytes that git has.
_NOT_CONVERTED = (
    ":(top,exclude,attr:!filter !ident !working-tree-encoding !text !eol !crlf)",
    ":(top,exclude,attr:!filter !ident !working-tree-encoding -text)",
)


@dataclass(frozen=True, kw_only=True)
class Revision:
    """The commit that is checked out; ``branch`` is empty on a detached head, ``dirty`` tells of tracked changes."""

    commit: str
    branch: str
    dirty: bool


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """A repository in another: where it is, the commit that the other one wants, and the one that is checked out."""

    path: str
    folder: Path
    commit: str
    checked_out: str


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

    Those of submodules are among them.

    Args:
        untracked: also those that git does not track and does not ignore.
    """
    listings = [["--cached", "--recurse-submodules"], *([["--others", "--exclude-standard"]] if untracked else [])]
    paths: set[Path] = set()
    for words in listings:
        asked = ["git", "ls-files", "-z", *words, "--", *pathspecs]
        listed = run(asked, cwd=folder, timeout=TIMEOUT, names=True).stdout
        paths |= {Path(name) for name in listed.rstrip("\n").split("\0") if name}
    return sorted(path for path in paths if (folder / path).is_file())


@dataclass(kw_only=True)
class Listing:
    """Files, their names relative to one folder.

    Attributes:
        algorithm: the one that git makes ids with, as `hashlib` names it.
        clean: of each file that git says is as in its index, the id of its content, with ``+x`` behind it if it is a
            program.
        others: names of those that git says nothing of: changed, not tracked, links, converted when they are checked
            out (line ends, filters such as LFS), or told not to look at.
    """

    algorithm: str = "sha1"
    clean: dict[str, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)


def listing(folder: Path, paths: Iterable[str]) -> Listing:
    """The files at or below ``paths``, which are relative to ``folder`` and may lie outside of it.

    They are those that git tracks, those that it neither tracks nor ignores, those of submodules, and those that
    ``paths`` names.
    """
    here = folder.resolve()
    whole = {name: Path(os.path.normpath(here / name)) for name in paths}
    repositories: dict[Path, list[Path]] = {}
    tops: dict[Path, Path | None] = {}
    for path in whole.values():
        inside = path if path.is_dir() else path.parent
        if inside not in tops:
            tops[inside] = _top(inside)
        # what is in no repository is told by git
        repositories.setdefault(tops[inside] or here, []).append(path)
    found = Listing()
    own = _top(here)
    for top, inner in repositories.items():
        # git gives names relative to where it is called: from here, if it can be
        at = here if top in (own, here) else top
        _list(top, at, _below(at, here), inner, found)
    have = found.clean.keys() | set(found.others)
    found.others += [name for name, path in whole.items() if name not in have and not path.is_dir()]
    return found


def _top(folder: Path) -> Path | None:
    """The top of the repository that ``folder`` is in."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)


def _below(path: Path, folder: Path) -> str:
    """What to put before the name of a file in ``path`` to have it relative to ``folder``."""
    relative = os.path.relpath(path, folder)
    return "" if relative == "." else f"{relative}/"


def _list(top: Path, at: Path, before: str, paths: Sequence[Path], found: Listing) -> None:
    """Add what is at or below ``paths`` in the repository ``top``, with ``before`` before its names in ``at``."""
    names = [os.path.relpath(path, at) for path in paths]
    wanted = set(names) if len(names) > MOST_PATHS else None
    asked = [f":(literal){name}" for name in ([os.path.commonpath(names) or "."] if wanted else names)]

    def ask(*words: str, only: Sequence[str] = ()) -> str:
        argv = ["git", *words, "--", *asked, *only]
        return run(argv, cwd=at, timeout=LISTING, names=True).stdout.removesuffix("\n")

    with ThreadPoolExecutor(2) as pool:
        index = pool.submit(ask, "ls-files", "-z", "--stage", "-v")
        special = pool.submit(ask, "ls-files", "-z", only=_NOT_CONVERTED)
        status = ask("status", *_STATUS)
    config = _settings(top)
    found.algorithm = config.get("extensions.objectformat", found.algorithm)
    everything = config.get("core.autocrlf", "false") not in _NO or config.get("core.filemode", "true") in _NO
    # the second letter is about the file here, beside the index; git does not look into a repository in this one
    differing = [entry[3:] for entry in status.split("\0") if entry[1:2] not in ("", " ")]
    inside = "" if at == top else f"{at.relative_to(top).as_posix()}/"
    unlike = {_relative(name, inside) for name in differing if not name.endswith("/")}
    unlike.update(name for name in special.result().split("\0") if name)
    clean = {}
    for tag, mode, identity, name in _ENTRY.findall(index.result()):
        if mode == _SUBMODULE:
            unlike.discard(name)
            if (at / name / ".git").exists():
                _list(at / name, at / name, f"{before}{name}/", [at / name], found)
        elif everything or tag != "H" or mode == _LINK or name in unlike:
            unlike.add(name)
        else:
            clean[name] = identity + ("+x" if mode == _PROGRAM else "")
    for name, identity in clean.items():
        if wanted is None or _is_in(name, wanted):
            found.clean[before + name] = identity
    found.others += [before + name for name in sorted(unlike) if wanted is None or _is_in(name, wanted)]


@cache
def _settings(top: Path) -> Mapping[str, str]:
    """What git is told in a repository of how files are checked out, in lower case; asked once."""
    listed = run(["git", "config", "--get-regexp", _SETTINGS], cwd=top, timeout=TIMEOUT, ok=(0, 1)).stdout
    return dict(line.partition(" ")[::2] for line in listed.lower().splitlines())


def _relative(name: str, inside: str) -> str:
    """The name of a file that git gave from the top, from the folder ``inside``, which is empty or ends with ``/``."""
    return name.removeprefix(inside) if name.startswith(inside) else os.path.relpath(name, inside)


def _is_in(name: str, paths: Collection[str]) -> bool:
    """Whether ``paths`` has the file or a folder that it is in."""
    return name in paths or any(str(parent) in paths for parent in PurePosixPath(name).parents)


def raised(versions: Collection[tuple[int, int, int]], messages: Sequence[str]) -> tuple[int, int, int]:
    """The version after the highest of ``versions``, by the messages of the commits since (Conventional Commits 1.0).

    A breaking change raises the first number (the second while the first is 0), a feature the second, anything else
    the third.
    """
    if not versions:
        return FIRST
    major, minor, patch = max(versions)
    if any(re.match(r"\w+(\([^)]*\))?!:", text) or re.search(r"^BREAKING[ -]CHANGE:", text, re.M) for text in messages):
        return (major + 1, 0, 0) if major else (0, minor + 1, 0)
    if any(re.match(r"feat(\([^)]*\))?:", text) for text in messages):
        return major, minor + 1, 0
    return major, minor, patch + 1


def version(folder: Path, commit: str = "HEAD", *, prefix: str = "v", tags: Mapping[str, str] | None = None) -> str:
    """The version of the project in ``folder`` at ``commit``: of the commit's own tag, or the one to come (`raised`).

    Args:
        prefix: what stands before the number in tags.
        tags: name and commit of each tag; None: those that are known here.
    """
    if tags is None:
        words = ["for-each-ref", "--format=%(refname:strip=2) %(objectname) %(*objectname)", f"refs/tags/{prefix}*"]
        rows = [line.split() for line in run(["git", *words], cwd=folder, timeout=TIMEOUT).stdout.splitlines()]
        tags = {row[0]: row[-1] for row in rows}
    form = re.compile(re.escape(prefix) + r"(\d+)\.(\d+)\.(\d+)")
    found = {name: tuple(map(int, match.groups())) for name in tags if (match := form.fullmatch(name))}
    history = run(["git", "rev-list", commit], cwd=folder, timeout=TIMEOUT).stdout.split()
    known = set(history)
    before = {name: (a, b, c) for name, (a, b, c) in found.items() if tags[name] in known}
    here = [number for name, number in before.items() if tags[name] == history[0]]
    if here:
        return ".".join(map(str, max(here)))
    latest = max(before, key=lambda name: before[name], default=None)
    since = f"{tags[latest]}..{commit}" if latest else commit
    log = run(["git", "log", "-z", "--format=%B", since, "--", "."], cwd=folder, timeout=TIMEOUT).stdout
    return ".".join(map(str, raised(list(before.values()), [text.strip() for text in log.split("\0")])))


def submodules(folder: Path, commit: str) -> list[Submodule]:
    """The submodules of the repository in ``folder``, at ``commit``.

    Raises:
        ConfigError: one is not checked out, so what was tested did not have it.
    """
    top = Path(run(["git", "rev-parse", "--show-toplevel"], cwd=folder, timeout=TIMEOUT).stdout.strip())
    listed = run(["git", "ls-tree", "-r", "-z", "--full-tree", commit], cwd=folder, timeout=TIMEOUT).stdout
    found = []
    for mode, _, wanted, path in re.findall(r"(\d+) (\w+) (\w+)\t([^\0]*)\0", listed):
        if mode != "160000":
            continue
        if not (top / path / ".git").exists():
            raise ConfigError(f"The submodule {path} is not checked out.", hint="`git submodule update --init`.")
        head = revision(top / path).commit
        found.append(Submodule(path=path, folder=top / path, commit=wanted, checked_out=head))
    return found


def resolve_url(base: str, url: str) -> str:
    """``url``, which may begin with ``./`` or ``../``: then it is relative to ``base``, as for submodules."""
    if not url.startswith(("./", "../")):
        return url
    head, separator, path = base.rpartition(":") if "://" not in base and ":" in base else ("", "", base)
    if "://" in base:
        parts = urlsplit(base)
        return urlunsplit(parts._replace(path=posixpath.normpath(posixpath.join(parts.path, url))))
    return f"{head}{separator}{posixpath.normpath(posixpath.join(path, url))}"


def bare_url(url: str) -> str:
    """``url`` without a password or token, which is masked from now on, and without the user's name."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return url
    if parts.password:
        masking.register(parts.password)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def clone(url: str, folder: Path, settings: schema.Git, *, branch: str) -> Repository:
    """A fresh clone of ``url`` in ``folder``, with ``branch`` checked out, and its submodules.

    Raises: as the methods of `Repository`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Repository(folder, settings, url=url)
    made.git("clone", "--quiet", "--recurse-submodules", "--branch", branch, url, ".", timeout=TRANSFER)
    return made


class Repository:
    """A clone and the server that it came from.

    User, password and key of the configuration are used if there are some, for this server alone; otherwise git finds
    its own. The password is in the environment of git, never on a command line, in an address or in a file.

    Every method raises the class of error that git's words mean: `CredentialError` when the server refuses the user,
    `InfrastructureError` when it does not answer, `ConfigError` when there is no such thing.
    """

    def __init__(self, folder: Path, settings: schema.Git, *, url: str | None = None, remote: str = "origin") -> None:
        self.folder = folder
        self._settings = settings
        self._url = url
        self._remote = remote

    @cached_property
    def address(self) -> str:
        """Where the server has it, as git uses it; `url` is what may be shown."""
        if self._url is not None:
            return self._url
        try:
            found = run(["git", "remote", "get-url", self._remote], cwd=self.folder, timeout=TIMEOUT).stdout.strip()
        except ProcessFailed as error:
            raise ConfigError(
                f"{self.folder} has no remote {self._remote!r}.",
                hint=f"`git remote add {self._remote} URL`.",
            ) from error
        bare_url(found)  # a password in it is masked from now on
        return found

    @property
    def url(self) -> str:
        """Where the server has it, without user and password."""
        return bare_url(self.address)

    @cached_property
    def _environment(self) -> dict[str, str]:
        settings, parts = self._settings, urlsplit(self.url)
        # English, whatever the user's language: `failures` knows git's words
        language = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
        found = {"GIT_TERMINAL_PROMPT": "0", **language, **identity(settings)}
        if settings.password and parts.scheme in ("http", "https"):
            # the first line forgets every other helper, which might store the password
            lines = (("credential.helper", ""), (f"credential.{parts.scheme}://{parts.netloc}.helper", _HELPER))
            found["GIT_CONFIG_COUNT"] = str(len(lines))
            for number, (key, value) in enumerate(lines):
                found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
            found["PIPELINE_TOOLS_GIT_PASSWORD"] = secrets.resolve(settings.password)
            username = secrets.resolve(settings.username, masked=False) if settings.username else "git"
            found["PIPELINE_TOOLS_GIT_USERNAME"] = username
        words = ["ssh", "-o", "BatchMode=yes"]
        if settings.ssh_key:
            words += ["-o", "IdentitiesOnly=yes", "-i", str(Path(settings.ssh_key).expanduser())]
        if settings.known_hosts:
            known = Path(settings.known_hosts).expanduser()
            words += ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
        if settings.ssh_key or settings.known_hosts:
            found["GIT_SSH_COMMAND"] = shlex.join(words)
        return found

    def git(
        self, *words: str, timeout: float = TIMEOUT, stdin: bytes | None = None, ok: Collection[int] = (0,)
    ) -> Result:
        """Run git in the clone, with what the server asks for."""
        try:
            return run(["git", *words], cwd=self.folder, timeout=timeout, env=self._environment, stdin=stdin, ok=ok)
        except ProcessFailed as error:
            raise self._failure(error.result.stderr, f"git {words[0]} did not work with {self.url}.") from error

    def _failure(self, said: str, message: str) -> PipelineError:
        return explained("git", said.strip(), message)

    def refs(self, *patterns: str) -> dict[str, str]:
        """Commit of each branch and tag of the server that a pattern (``refs/heads/master``) names.

        An annotated tag is there as the commit that it is on.
        """
        listed = self.git("ls-remote", self.address, *patterns, timeout=TIMEOUT).stdout
        found: dict[str, str] = {}
        for line in listed.splitlines():
            commit, _, name = line.partition("\t")
            found[name.removesuffix("^{}")] = commit  # the commit of an annotated tag comes after the tag itself
        return found

    def fetch(self, *commits_or_refs: str) -> None:
        """Bring the objects of some refs; no branch or tag of the clone is changed.

        Of a shallow clone the rest of the history comes along: without it nobody knows what is an ancestor of what.
        """
        shallow = self.git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        words = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *(["--unshallow"] if shallow else [])]
        self.git(*words, self.address, *commits_or_refs, timeout=TRANSFER)

    def fetch_tag(self, name: str) -> None:
        """Have a tag of the server here too."""
        self.git("fetch", "--quiet", "--no-tags", self.address, f"+refs/tags/{name}:refs/tags/{name}", timeout=TRANSFER)

    def is_ancestor(self, one: str, other: str) -> bool:
        """Whether the commit ``one`` is in the history of ``other``, or is it; both are here."""
        return self.git("merge-base", "--is-ancestor", one, other, ok=(0, 1)).exit_code == 0

    def make_tag(self, name: str, commit: str, message: str) -> str:
        """The object of an annotated tag, which no ref names yet; returns its id."""
        tagger = self.git("var", "GIT_COMMITTER_IDENT").stdout.strip()
        text = f"object {commit}\ntype commit\ntag {name}\ntagger {tagger}\n\n{message}\n"
        return self.git("mktag", stdin=text.encode()).stdout.strip()

    def push(self, refs: Mapping[str, tuple[str, str | None]]) -> str:
        """Set refs on the server, all of them or none.

        Args:
            refs: name of each, the object that it is to be, and the one that it is now (None: it does not exist).

        Returns:
            What the server said if it refused because one of them is not what it was; empty when it is done.
        """
        leases = [f"--force-with-lease={name}:{old or ''}" for name, (_, old) in refs.items()]
        pairs = [f"{new}:{name}" for name, (new, _) in refs.items()]
        words = ["push", "--porcelain", "--atomic", "--no-verify", *leases, self.address, *pairs]
        done = self.git(*words, timeout=TRANSFER, ok=(0, 1))
        if done.exit_code == 0:
            return ""
        said = f"{done.stdout}{done.stderr}".strip()
        if re.search(r"stale info|cannot lock ref|failed to update ref|fetch first|reference already exists", said):
            return said
        raise self._failure(said, f"{self.url} does not take the push.")


def identity(settings: schema.Git) -> dict[str, str]:
    """The variables that say who makes a commit or tag."""
    name, _, address = settings.author.rpartition(" <")
    found: dict[str, str] = {}
    for who in ("AUTHOR", "COMMITTER"):
        found |= {f"GIT_{who}_NAME": name, f"GIT_{who}_EMAIL": address.removesuffix(">")}
    return found


def path_of(url: str) -> str:
    """``OWNER/NAME`` of a repository's address, without ``.git``."""
    path = urlsplit(url).path if "://" in url else url.partition(":")[2]
    return path.strip("/").removesuffix(".git")


def quoted(path: str) -> str:
    """A path as one piece of an address."""
    return quote(path, safe="")


def asks(config: schema.Config) -> tuple[Credential, ...]:
    """The credential that a step needs that talks to the server: none where git finds its own."""
    return (GIT,) if config.git.password else ()
