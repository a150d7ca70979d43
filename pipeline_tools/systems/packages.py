"""Python packages: wheels in the repository manager, and the lines of a requirements file that pin them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from pipeline_tools.config import schema
from pipeline_tools.errors import ConfigError
from pipeline_tools.systems.artifactory import from_config


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """Name, as indexes write it, and version that a wheel's file name tells."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """A requirements file with one package pinned.

    Attributes:
        text: the whole file.
        version: the version that was pinned before; None: the package was not there, or not pinned.
        hashed: whether the line has the wheel's hash.
    """

    text: str
    version: str | None
    hashed: bool


def wheel(file: Path) -> Wheel:
    """What the name of a wheel tells.

    Raises:
        ConfigError: it is not the name of one.
    """
    try:
        name, version, *_ = parse_wheel_filename(file.name)
    except InvalidWheelFilename as error:
        raise ConfigError(f"{file.name} is not the name of a wheel.", details=str(error)) from error
    return Wheel(name=name, version=str(version))


def place(settings: schema.Artifactory, name: str, version: str) -> str:
    """Where a version of a package is in the repository manager: a folder."""
    return f"{settings.pypi}/{canonicalize_name(name)}/{version}"


def newest(settings: schema.Artifactory, name: str) -> str | None:
    """The highest version of a package that is published, without those to try out; None: there is none."""
    found = []
    for child in from_config(settings).children(f"{settings.pypi}/{canonicalize_name(name)}"):
        with suppress(InvalidVersion):
            found.append(Version(child))
    released = [version for version in found if not version.is_prerelease]
    return str(max(released)) if released else None


def fetch(settings: schema.Artifactory, name: str, version: str, folder: Path) -> Path | None:
    """Bring the wheel of a version into ``folder``; None: there is none."""
    server, where = from_config(settings), place(settings, name, version)
    wheels = [child for child in server.children(where) if child.endswith(".whl")]
    if not wheels:
        return None
    server.download(f"{where}/{wheels[0]}", folder / wheels[0])
    return folder / wheels[0]


def pinned_version(text: str, package: str) -> str | None:
    """The version of ``package`` that a requirements file pins with ``==``; None: none."""
    for _, one in _lines(text, package):
        return next((part.version for part in one.specifier if part.operator == "=="), None)
    return None


def pin(text: str, package: str, version: str, sha256: str) -> Pinned:
    """Pin ``package`` in the text of a requirements file; everything else in it stays as it is.

    Where any line has a hash, this one gets the wheel's: pip then asks for one on every line. Where none has, one
    hash would make pip refuse all the others, so the version alone is written.

    Raises:
        ConfigError: the file names the package more than once, with different conditions perhaps.
    """
    found = _lines(text, package)
    if len(found) > 1:
        raise ConfigError(f"{package} is required {len(found)} times.", hint="Leave one line of them.")
    hashed = re.search(r"--hash[= ]", text) is not None
    end = "\r\n" if "\r\n" in text else "\n"
    old = found[0][1] if found else None
    extras = f"[{','.join(sorted(old.extras))}]" if old and old.extras else ""
    line = f"{package}{extras}=={version}" + (f" ; {old.marker}" if old and old.marker else "")
    if hashed:
        line += f" \\{end}    --hash=sha256:{sha256}"
    if found:
        place = found[0][0]
        new = f"{text[: place.start()]}{line}{end}{text[place.end() :]}"
        return Pinned(text=new, version=pinned_version(text, package), hashed=hashed)
    before = text if not text or text.endswith("\n") else f"{text}{end}"
    return Pinned(text=f"{before}{line}{end}", version=None, hashed=hashed)


def lines(text: str, package: str) -> list[str]:
    """The lines of a requirements file that are about ``package``, each with those that continue it."""
    return [line[0] for line, _ in _lines(text, package)]


def _lines(text: str, package: str) -> list[tuple[re.Match[str], Requirement]]:
    """Where a requirements file is about ``package``: each line with those that continue it, and what it says."""
    logical = re.finditer(r"(?:[^\n]*\\\r?\n)*[^\n]*(?:\n|$)", text)
    found = [(line, one) for line in logical if (one := _requirement(line[0]))]
    return [(line, one) for line, one in found if canonicalize_name(one.name) == package]


def _requirement(line: str) -> Requirement | None:
    words = re.sub(r"\\\r?\n|(^|\s)#.*|\s--hash[= ]\S+", " ", line).strip()
    try:
        return Requirement(words)
    except InvalidRequirement:
        return None
