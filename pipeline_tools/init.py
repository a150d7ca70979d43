"""`init`: look at a repository, and write a small `pipeline.yml` and a `Jenkinsfile` that work at once."""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline_tools.config import layers
from pipeline_tools.errors import ConfigError
from pipeline_tools.ledger import FOLDER

JENKINSFILE = "Jenkinsfile"
SCHEMA_FILE = "pipeline.schema.json"
# Folders in which nothing of the project's own is.
FOREIGN = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist", "target", "wheels"})
DEPTH = 5
# What no coverage is measured of.
NOT_PRODUCT = frozenset({"tests", "test", "docs", "doc", "examples", "scripts", "benchmarks", "tools"})
NOT_MODULES = frozenset({"setup", "conftest", "noxfile", "tasks", "fabfile"})
PYTEST_NAMES = re.compile(r"(test_.*|.*_test)\.py")
UNITTEST_NAMES = re.compile(r"test.*\.py")
TEST = re.compile(r"^\s*(async )?def test", re.MULTILINE)
REQUIREMENTS = re.compile(
    r"(requirements([-_.](dev|tests?|testing|ci))?|(dev|tests?)[-_]requirements|requirements/(base|main|dev|tests?|ci))\.txt"
)
PRODUCT_REQUIREMENTS = ("requirements.txt", "requirements/base.txt", "requirements/main.txt")
EXTRAS = ("test", "tests", "testing", "dev")
# What a project has at its top.
SIGNS = frozenset({"Dockerfile", "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt"})
DATA = frozenset({".csv", ".tsv", ".parquet", ".jsonl"})
TRAINING = re.compile(r"(train|entrenar|ejecutar)\w*\.(py|sh)")


# What has a pipeline of a kind of its own, whose programs only its people can name.
OWN_PROGRAMS = {"a model": "model", "a data set with its programs": "data"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a repository has; every path is relative to it.

    Attributes:
        what: what it looks like, in words.
        options: what pytest must be told to find the tests and the packages.
        requirements: requirement files, or ``.`` for the project itself.
        values: the chart's values file of an environment.
    """

    name: str
    version: str | None
    what: str
    tests: Sequence[str]
    packages: Sequence[str]
    options: Sequence[str]
    requirements: Sequence[str]
    dockerfile: str | None
    chart: str | None
    values: dict[str, str]

    @property
    def kind(self) -> str:
        """The kind of project; what has neither an image nor a chart is a library."""
        if self.dockerfile or (self.chart and self.tests):
            return "service"
        return "chart" if self.chart else "library"


def look(project: Path) -> Found:
    """What is in ``project``.

    Raises:
        ConfigError: nothing that a pipeline could be made of.
    """
    files = sorted(_files(project), key=lambda file: (len(file.parts), file))
    described = _described(project)
    tests = [file for file in files if _is_test(project / file)]
    python = any(file.suffix == ".py" for file in files)
    # one that lies deeper builds something else
    dockerfile = next((str(file) for file in files if file.name == "Dockerfile" and len(file.parts) <= 2), None)
    chart = next((file.parent for file in files if file.name == "Chart.yaml"), None)
    if not (python or dockerfile or chart):
        raise ConfigError(
            f"{project} has no Python program, no Dockerfile and no chart: there is nothing to make a pipeline of.",
            hint="Name the project's folder with --project DIR.",
        )
    packages, root = _packages(files)
    values = [file for file in files if chart and file.parent == chart and re.match(r"values-.+\.ya?ml", file.name)]
    return Found(
        name=_name(described.get("name") or project.resolve().name),
        version=_version(described.get("version")),
        what=_what(files, python=python, dockerfile=dockerfile, chart=chart),
        tests=_roots(tests),
        packages=packages,
        options=_options(project, tests, root),
        requirements=_requirements(files, described),
        dockerfile=dockerfile,
        chart=str(chart) if chart else None,
        values={file.stem.removeprefix("values-"): str(file) for file in values},
    )


def pipeline_text(found: Found, *, scan: bool) -> str:
    """The `pipeline.yml` for what was found; ``scan``: whether there is a SonarQube to scan with."""
    blocks = [
        f"# yaml-language-server: $schema={FOLDER}/{SCHEMA_FILE}\n"
        f"# The pipeline of {found.what}. `pipeline-tools plan` shows its steps,\n"
        "# `pipeline-tools config explain` every key that is set and where.\n"
        f"kind: {found.kind}\n"
        f"name: {_flow(found.name)}" + (f"\nversion: {_flow(found.version)}" if found.version else ""),
    ]
    if found.kind == "chart":
        return "\n\n".join([*blocks, f"chart:\n  path: {_flow(found.chart)}"]) + "\n"
    blocks.append(_test_block(found))
    if not scan:
        blocks.append("# No platform file names a SonarQube. Remove this line when one does.\nscan: {enabled: false}")
    if found.kind == "service":
        blocks += _service_blocks(found)
    return "\n\n".join(blocks) + "\n"


def write(project: Path, *, platform: Path | None) -> Iterator[str]:
    """Write what is missing; yields lines that say what was done and what to do next.

    A folder that is no project itself, but has several in it, gets a pipeline for each of these.

    Raises:
        ConfigError: the folder cannot be understood or written to, or a file of the platform is malformed.
    """
    folders = _projects(project)
    found = {folder: look(folder) for folder in folders}  # nothing is written if one of them is not understood
    written: list[str] = []
    for folder in folders:
        yield from _write_one(folder, project, found[folder], platform, written)
    yield from _next(project, written)


def _write_one(project: Path, above: Path, found: Found, platform: Path | None, written: list[str]) -> Iterator[str]:
    """Write what is missing in one project, its names relative to ``above``; what was written is added."""
    from pipeline_tools.generate import schema_text

    origins, locks = layers.shared(platform)
    address = origins.get(("sonarqube", "url"), ())
    locked = any(lock[0] == "scan" for lock in locks)
    yield f"{project} is {found.what}" + (f", with tests in {', '.join(found.tests)}." if found.tests else ".")
    if found.what in OWN_PROGRAMS:
        kind = OWN_PROGRAMS[found.what]
        yield f"It is written as a library: the pipeline of `kind: {kind}` calls programs of yours (docs/projects.md)."
    texts = {
        layers.PROJECT_FILE: pipeline_text(found, scan=locked or bool(address and address[-1].value)),
        JENKINSFILE: f"@Library('pipeline-tools') _\n{found.kind}Pipeline({_jenkins_arguments(project)})\n",
    }
    try:
        for name, text in texts.items():
            shown = (project / name).relative_to(above).as_posix()
            if _create(project / name, text):
                written.append(shown)
                yield f"wrote {shown}"
            else:
                yield f"{shown} exists: left as it is"
        _bring_schema(project / FOLDER, schema_text("project"))
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}.") from error
    try:
        layers.load(project, platform=platform)
    except ConfigError as error:
        yield f"{error.message} {error.hint}".strip()


def _next(project: Path, written: Sequence[str]) -> Iterator[str]:
    yield "Next:"
    yield "  pipeline-tools plan    what would run"
    if _repository(project) is None:
        yield "  git init && git add --all && git commit --message 'Begin'    the pipeline works on what git tracks"
    yield "  pipeline-tools run     run it"
    if written:
        yield f"  git add {' '.join(written)} && git commit    then Jenkins runs it as well"


def _create(path: Path, text: str) -> bool:
    """Whether the file was written: not if there is one, or a link with no end."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _bring_schema(folder: Path, text: str) -> None:
    """The schema for editors, in the tool's own folder, which git does not track."""
    folder.mkdir(exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    (folder / SCHEMA_FILE).write_text(text, encoding="utf-8")


def _test_block(found: Found) -> str:
    if not found.tests:
        return "# No tests were found. Remove this line when there are some.\ntest: {enabled: false}"
    lines = ["test:", f"  paths: {_flow(found.tests)}"]
    if found.packages:
        lines.append(f"  package: {_flow(found.packages)}  # what coverage is measured of")
    if found.requirements:
        lines.append(f"  requirements: {_flow(found.requirements)}  # installed for the tests")
    if found.options:
        lines.append(f"  options: {_flow(found.options)}")
    return "\n".join(lines)


def _service_blocks(found: Found) -> Iterator[str]:
    if found.dockerfile:
        yield f"image:\n  dockerfile: {_flow(found.dockerfile)}"
    else:
        yield "# There is no Dockerfile.\nimage: {enabled: false}"
    if found.chart:
        yield f"chart:\n  path: {_flow(found.chart)}"
    else:
        yield "# No helm chart was found: nothing is deployed.\nchart: {enabled: false}"
    if not (found.dockerfile and found.chart):
        yield "deploy: {enabled: false}\n\nverify: {enabled: false}"
        return
    lines = [
        "# Where it is deployed; PROD waits for an approval: `pipeline-tools run --approve`.",
        "# verify.url is where the service answers; it stands here if no platform file says it.",
        "environments:",
    ]
    for name in ("test", "prod"):
        lines.append(f"  {name}:")
        lines.append(f"    deploy: {{values: {_flow([found.values[name]] if name in found.values else [])}}}")
        lines.append(f"    # verify: {{url: https://{name}.example.com}}")
    yield "\n".join(lines)


def _flow(value: Any) -> str:
    """A value on one line of YAML, quoted where it must be."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _files(project: Path) -> Iterator[PurePosixPath]:
    for folder, names, files in os.walk(project):
        here = Path(folder)
        relative = here.relative_to(project)
        deep = len(relative.parts) >= DEPTH
        # what begins with a dot is for tools; a folder with pyvenv.cfg is an environment
        names[:] = [] if deep else [name for name in names if not _is_foreign(here / name)]
        yield from (PurePosixPath(relative.as_posix()) / name for name in files)


def _is_foreign(folder: Path) -> bool:
    name = folder.name
    return name.startswith(".") or name in FOREIGN or name.endswith(".egg-info") or (folder / "pyvenv.cfg").exists()


def _projects(folder: Path) -> list[Path]:
    """The projects in ``folder``: itself, or if it is none, those one or two folders below it."""
    files = list(_files(folder))
    if any(len(file.parts) == 1 and (file.name in SIGNS or file.suffix == ".py") for file in files):
        return [folder]
    signed = {file.parent for file in files if file.name in SIGNS and 2 <= len(file.parts) <= 3}
    outermost = [each for each in signed if not signed & set(each.parents) and not NOT_PRODUCT & set(each.parts)]
    return [folder / each for each in sorted(outermost)] if len(outermost) > 1 else [folder]


def _described(project: Path) -> dict[str, Any]:
    """What pyproject.toml, or setup.cfg, says of the project: name, version, dependencies, extras."""
    try:
        about: dict[str, Any] = tomllib.loads((project / "pyproject.toml").read_text("utf-8")).get("project", {})
    except (OSError, ValueError):
        about = {}
    if about:
        return {**about, "extras": list(about.get("optional-dependencies", {}))}
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(project / "setup.cfg", "utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    extras = list(parser["options.extras_require"]) if "options.extras_require" in parser else []
    return {
        "name": parser.get("metadata", "name", fallback=None),
        "version": parser.get("metadata", "version", fallback=None),
        "dependencies": parser.get("options", "install_requires", fallback="").split(),
        "extras": extras,
    }


def _name(text: object) -> str:
    """``text`` as the name of a project."""
    return re.sub("[^a-z0-9]+", "-", str(text).lower())[:50].strip("-") or "project"


def _version(text: object) -> str | None:
    return str(text) if re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", str(text)) else None


def _what(files: Sequence[PurePosixPath], *, python: bool, dockerfile: str | None, chart: PurePosixPath | None) -> str:
    if dockerfile:
        return "a Python service" if python else "a service"
    if chart:
        return "a helm chart"
    if any(TRAINING.fullmatch(file.name) for file in files):
        return "a model"
    return "a data set with its programs" if any(file.suffix in DATA for file in files) else "a Python library"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _is_test(path: Path) -> bool:
    named = PYTEST_NAMES.fullmatch(path.name) or UNITTEST_NAMES.fullmatch(path.name)
    return bool(named and TEST.search(_text(path)))


def _roots(tests: Sequence[PurePosixPath]) -> list[str]:
    """The folders that hold all tests: the topmost ones named so, else those that the files are in."""
    roots = set()
    for file in tests:
        named = [parent for parent in file.parents if parent.name in ("tests", "test")]
        roots.add(named[-1] if named else file.parent)
    return sorted(str(root) for root in roots if not any(other in root.parents for other in roots))


def _packages(files: Sequence[PurePosixPath]) -> tuple[list[str], str]:
    """The importable names of the product, and the folder that they are in: ``src`` or ``.``."""
    folders = [file.parent for file in files if file.name == "__init__.py"]
    for root in ("src", "."):
        base = PurePosixPath(root)
        packages = [folder.name for folder in folders if folder.parent == base and folder.name not in NOT_PRODUCT]
        modules = [
            file.stem
            for file in files
            if file.parent == base and file.suffix == ".py" and file.stem.isidentifier()
            if file.stem not in NOT_MODULES and not UNITTEST_NAMES.fullmatch(file.name)
        ]
        if packages or modules:
            return packages or modules, root
    return [], "."


def _options(project: Path, tests: Sequence[PurePosixPath], root: str) -> list[str]:
    settings = "\n".join(_text(project / name) for name in ("pytest.ini", "pyproject.toml", "setup.cfg", "tox.ini"))
    options = []
    if root != "." and "pythonpath" not in settings:
        options += ["-o", f"pythonpath={root}"]
    if "python_files" not in settings and any(not PYTEST_NAMES.fullmatch(file.name) for file in tests):
        # unittest takes every file that begins with `test`; pytest wants to be told
        options += ["-o", "python_files=test*.py *_test.py"]
    return options


def _requirements(files: Sequence[PurePosixPath], described: dict[str, Any]) -> list[str]:
    found = [str(file) for file in files if REQUIREMENTS.fullmatch(str(file))]
    named = sorted(found, key=lambda name: (name not in PRODUCT_REQUIREMENTS, name))
    if named or not (described.get("dependencies") or set(EXTRAS) & set(described.get("extras", ()))):
        return named
    extra = next((extra for extra in EXTRAS if extra in described["extras"]), None)
    return [f".[{extra}]" if extra else "."]


def _repository(project: Path) -> Path | None:
    """The git repository that ``project`` is in."""
    whole = project.resolve()
    return next((folder for folder in (whole, *whole.parents) if (folder / ".git").exists()), None)


def _jenkins_arguments(project: Path) -> str:
    repository = _repository(project)
    if repository is None or repository == project.resolve():
        return ""
    inside = project.resolve().relative_to(repository).as_posix()
    quoted = inside.replace("\\", "\\\\").replace("'", "\\'")
    return f"project: '{quoted}'"
