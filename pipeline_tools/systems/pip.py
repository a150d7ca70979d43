"""pip with the repository manager as an index; the password travels in a netrc file, never on a command line."""

from __future__ import annotations

import netrc
import os
import re
import shlex
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_tools import secrets
from pipeline_tools.config.schema import Artifactory
from pipeline_tools.errors import PipelineError
from pipeline_tools.failures import explained
from pipeline_tools.process import ProcessFailed, run
from pipeline_tools.systems import artifactory as repository

TIMEOUT = 900.0
# Of a requirements file: a line that names another one, alone on it.
NAMES = re.compile(r"(?:-[rc]\s*|--(?:requirement|constraint)[\s=]+)(.+)")


def read(file: Path) -> str:
    """The text of a requirements file; pip takes other encodings than ours too, for what is in comments."""
    return file.read_text(encoding="utf-8-sig", errors="replace")


def with_named(files: Iterable[Path]) -> list[Path]:
    """Requirement files and those that they name with ``-r`` or ``-c``, and so on; each once, there or not.

    What is named by an address is left out.
    """
    waiting, found = deque(files), dict[Path, None]()
    while waiting:
        file = Path(os.path.normpath(waiting.popleft()))
        if file in found:
            continue
        found[file] = None
        # lines and comments as https://pip.pypa.io/en/stable/reference/requirements-file-format has them
        text = re.sub(r"\\\r?\n", "", read(file)) if file.is_file() else ""
        for line in text.splitlines():
            match = NAMES.fullmatch(re.sub(r"(^|\s)#.*", "", line).strip())
            with suppress(ValueError):  # a quote that does not end: pip tells it
                for name in shlex.split(match[1])[:1] if match else ():
                    if "://" not in name:
                        waiting.append(file.parent / os.path.expandvars(name))
    return list(found)


def read_files(project: Path, files: Iterable[Path]) -> list[str]:
    """What `with_named` has for ``files``, relative to the project; of no use to git is what is in no repository."""
    found = [file for file in with_named(files) if any((folder / ".git").exists() for folder in file.parents)]
    return [os.path.relpath(file, project) for file in found]


@contextmanager
def _index(artifactory: Artifactory) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Options and variables that add Artifactory's repository to pip's indexes."""
    if artifactory.url is None:
        yield [], {}
        return
    host = urlsplit(artifactory.url).hostname or ""
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as folder:
        file = Path(folder) / "netrc"
        file.touch(mode=0o600)
        username, password = secrets.resolve(artifactory.username, masked=False), secrets.resolve(artifactory.password)
        # the user's own logins for other indexes, which pip finds no more
        logins = {**_own_logins(), host: (username, "", password)}
        file.write_text("".join(map(netrc_line, logins, logins.values())), encoding="utf-8")
        index = f"{artifactory.url}/api/pypi/{artifactory.pypi}/simple"
        options = ["--extra-index-url", index]
        if artifactory.insecure:
            options += ["--trusted-host", host]
        yield options, {"NETRC": str(file), "PIP_NO_INPUT": "1"}


def netrc_line(host: str, login: tuple[str, str, str]) -> str:
    """An entry (user, account, password) as Python's `netrc`, which pip reads with, takes it for just these texts."""
    words = ("machine", host, "login", login[0], "account", login[1], "password", login[2])
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return " ".join(f'"{word}"' for word in quoted) + "\n"


def _own_logins() -> dict[str, tuple[str, str, str]]:
    """What the user's own netrc file has; nothing where pip would take nothing from it."""
    for name in [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]:
        file = Path(name).expanduser()
        if file.exists():
            with suppress(netrc.NetrcParseError, OSError, UnicodeDecodeError):
                return dict(netrc.netrc(file).hosts)
            break
    return {}


def _pip(python: Path | str, words: Sequence[str | Path], artifactory: Artifactory, log: Callable[[str], None]) -> None:
    with _index(artifactory) as (options, env):
        env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
        try:
            run([python, "-m", "pip", *words, "--quiet", *options], timeout=TIMEOUT, env=env, log=log)
        except ProcessFailed as error:
            raise _failure(error, artifactory) from error


def _failure(error: ProcessFailed, artifactory: Artifactory) -> PipelineError:
    """What pip's exit code does not say: it takes a repository that refuses the user for one without the package."""
    if artifactory.url is not None:
        try:
            repository.from_config(artifactory).ping()
        except PipelineError as cause:
            return cause
    return explained("pip", error.result.stderr.strip(), "pip could not get the requirements.")


def install(
    python: Path,
    requirements: Sequence[Path],
    artifactory: Artifactory,
    *,
    projects: Sequence[str] = (),
    packages: Sequence[str] = (),
    log: Callable[[str], None],
) -> None:
    """Install into the environment of ``python``.

    Files with hashes go first and alone: pip wants a hash for everything that is installed together with them.

    Args:
        requirements: requirement files.
        projects: folders of projects (``/path[extra]``) that stay linked to their source.
        packages: names of packages, in the versions that the files want.

    Raises:
        CredentialError: Artifactory refused the user.
        ConfigError: no index has these versions.
        InfrastructureError: anything else that pip failed at.
    """
    hashed = [file for file in requirements if any("--hash" in read(each) for each in with_named([file]))]
    if hashed:
        _pip(python, ["install", *_files(hashed)], artifactory, log)
    words = _files([file for file in requirements if file not in hashed])
    words += [word for project in projects for word in ("--editable", project)]
    if words or packages:
        _pip(python, ["install", *words, *packages], artifactory, log)


def _files(requirements: Sequence[Path]) -> list[str | Path]:
    return [word for file in requirements for word in ("--requirement", file)]


def download_wheels(
    python: Path | str,
    wanted: Sequence[str | Path],
    folder: Path,
    artifactory: Artifactory,
    *,
    python_version: str,
    platform: Sequence[str],
    log: Callable[[str], None],
) -> None:
    """Bring wheels, for another Python than ours, into ``folder``; ``wanted`` is pip's ``--requirement FILE`` or names.

    Raises: as `install`.
    """
    words: list[str | Path] = ["download", *wanted, "--dest", folder]
    words += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python_version]
    for tag in platform:
        words += ["--platform", tag]
    _pip(python, words, artifactory, log)
