"""`test`: the project's own tests, with pytest in an environment made from its requirements or by its own program."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from pipeline_tools.errors import ConfigError, QualityError
from pipeline_tools.masking import mask
from pipeline_tools.process import run
from pipeline_tools.step import ARTIFACTORY, Context, Credential, Duration, Json, RunnerInputs, Step, duration
from pipeline_tools.systems import pip, program

if TYPE_CHECKING:
    from pipeline_tools.config.schema import Config

# pytest's exit codes: some tests failed; nothing was collected
TESTS_FAILED, NO_TESTS = 1, 5
# Among the requirements: the project itself, with extras; and the files that say what it then needs.
ITSELF = re.compile(r"\.(\[[\w,.-]+\])?")
DESCRIPTIONS = ("pyproject.toml", "setup.cfg", "setup.py")


class Inputs(RunnerInputs):
    """How the tests are run."""

    command: list[str] = Field(
        [],
        description="The project's own program that runs its tests and writes JUnit XML to `{junit}`; the keys below "
        "that are for pytest are then not used. Exit codes 1 and 3: tests failed.",
    )
    paths: list[str] = Field(["tests"], description="Files and folders of the tests.")
    package: list[str] = Field([], description="What coverage is measured of; empty: no coverage.")
    requirements: list[str] = Field(
        [],
        description="Requirement files to install for the tests; `.` or `.[extra]` is the project itself; "
        "empty: the tests run with the Python of pipeline-tools.",
    )
    timeout: Duration = Field(duration("30m"), description="How long the tests may take.")
    options: list[str] = Field([], description="More options for pytest.")


def _files(ctx: Context[Inputs]) -> list[Path]:
    return [ctx.project / name for name in ctx.inputs.requirements if not ITSELF.fullmatch(name)]


def _reads(ctx: Context[Inputs]) -> Iterable[str]:
    """The whole project, and requirement files that lie elsewhere."""
    return (".", *pip.read_files(ctx.project, _files(ctx)))


def _environment(ctx: Context[Inputs]) -> Path:
    """The Python of an environment with the requirements; kept, and found again, by their content."""
    if not ctx.inputs.requirements:
        return Path(sys.executable)
    files = _files(ctx)
    everything = pip.with_named(files)
    for file in everything:
        if not file.is_file():
            by = "" if file in files else " in one of its files"
            raise ConfigError(f"test.requirements names {file}{by}, which does not exist.")
    itself = [f"{ctx.project}{name[1:]}" for name in ctx.inputs.requirements if ITSELF.fullmatch(name)]
    described = [ctx.project / name for name in DESCRIPTIONS if itself and (ctx.project / name).is_file()]
    # pip installs them only if no file names them, with another version perhaps
    tools = ["pytest", *(["pytest-cov"] if ctx.inputs.package else [])]
    key = hashlib.sha256("\0".join((sys.version, *itself, *tools)).encode())
    for file in (*everything, *described):
        key.update(b"\0" + file.read_bytes())
    cache = Path(os.environ.get("PIPELINE_TOOLS_CACHE", "~/.cache/pipeline-tools")).expanduser()
    home = cache / "environments" / key.hexdigest()[:16]
    python = home / "bin" / "python"
    home.parent.mkdir(parents=True, exist_ok=True)
    # another run may be making the same one: the lock goes with the process that has it, however that ends
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / ".complete").exists():
            ctx.log(f"making the tests' environment from {', '.join(ctx.inputs.requirements)} (kept for the next run)")
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", home], timeout=120)
            pip.install(python, files, ctx.config.artifactory, projects=itself, packages=tools, log=ctx.log)
            (home / ".complete").touch()
    return python


def _run(ctx: Context[Inputs]) -> Mapping[str, Json]:
    return _own(ctx) if ctx.inputs.command else _pytest(ctx)


def _own(ctx: Context[Inputs]) -> Mapping[str, Json]:
    """The tests as the project's own program runs them."""
    junit = ctx.out / "junit.xml"
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
        unmasked = Path(scratch) / "junit.xml"
        command = program.filled(ctx.inputs.command, {"junit": str(unmasked)}, "test.command")
        done = program.call(
            ctx, command, key="test.command", timeout=ctx.inputs.timeout, judged=(TESTS_FAILED, program.NOT_GOOD_ENOUGH)
        )
        counts = _report(unmasked, junit) if unmasked.is_file() else None
    if counts is None or not counts["tests"]:
        what = "no JUnit report" if counts is None else "a JUnit report without tests"
        raise QualityError(
            f"{command[0]} exited with {done.exit_code} and left {what}.",
            hint="test.command must write its results to {junit}; the output of the step says what happened.",
        )
    if done.exit_code or counts["failed"]:
        raise QualityError(
            f"{counts['failed']} of {counts['tests']} tests failed; {command[0]} exited with {done.exit_code}.",
            hint="The output of the step has each failure in full.",
        )
    return {**counts, "coverage_percent": None, "junit": ctx.relative(junit), "coverage": None}


def _pytest(ctx: Context[Inputs]) -> Mapping[str, Json]:
    python = _environment(ctx)
    junit, coverage = ctx.out / "junit.xml", ctx.out / "coverage.xml"
    argv: list[str | Path] = [
        python,
        "-m",
        "pytest",
        *ctx.inputs.paths,
        "-o",
        "junit_family=xunit1",
    ]
    measured = [f"--cov={name}" for name in ctx.inputs.package]
    if measured:
        argv += [*measured, "--cov-branch", f"--cov-report=xml:{coverage}", "--cov-report=term"]
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as scratch:
        env = {"COVERAGE_FILE": str(Path(scratch) / "coverage"), "PYTHONDONTWRITEBYTECODE": "1"}
        unmasked = Path(scratch) / "junit.xml"
        argv += [f"--junitxml={unmasked}", "-p", "no:cacheprovider", *ctx.inputs.options]
        result = run(argv, cwd=ctx.project, timeout=ctx.inputs.timeout, env=env, log=ctx.log, ok=range(0, 6))
        counts = _report(unmasked, junit) if result.exit_code in (0, TESTS_FAILED) and unmasked.is_file() else None
    if result.exit_code == NO_TESTS:
        raise QualityError("pytest found no tests.", hint="Name the tests' folder in test.paths.")
    if counts is None:
        raise ConfigError(
            f"pytest could not run (exit code {result.exit_code}).",
            hint="Its output above says why: an unknown option, or a module that is missing from test.requirements.",
            details="\n".join((result.stdout + result.stderr).splitlines()[-15:]),
        )
    if result.exit_code == TESTS_FAILED:
        raise _failure(counts, result.stdout.splitlines())
    if measured and not coverage.is_file():
        ctx.log(f"warning: no test imports {' or '.join(ctx.inputs.package)}: nothing of it is covered")
    covered = measured and coverage.is_file()
    return {
        **counts,
        "coverage_percent": _line_rate(coverage) if covered else 0.0 if measured else None,
        "junit": ctx.relative(junit),
        "coverage": ctx.relative(coverage) if covered else None,
    }


def _failure(counts: Mapping[str, int], lines: Sequence[str]) -> QualityError:
    """Our error for what pytest printed before it exited with 1."""
    if counts["failed"]:
        return QualityError(
            f"{counts['failed']} of {counts['tests']} tests failed.",
            hint="The output of the step has each failure in full.",
            details="\n".join(line for line in lines if line.startswith(("FAILED", "ERROR"))),
        )
    # pytest-cov says ERROR, then FAIL, of a coverage below --cov-fail-under
    said = [line for line in lines if line.startswith(("FAIL", "ERROR"))]
    why = f": {said[-1].removeprefix('FAIL ').rstrip('.')}" if said else ""
    return QualityError(
        f"No test failed, but pytest did{why}.",
        hint="One of test.options, or a plugin, asks for more than tests that pass.",
        details="\n".join(said),
    )


def _report(unmasked: Path, junit: Path) -> dict[str, int]:
    """Write pytest's JUnit report to ``junit``, masked, for tests print into it; returns how many tests it has."""
    tree = ET.parse(unmasked)  # noqa: S314 — written by pytest a moment ago
    total = {"tests": 0, "failed": 0, "skipped": 0}
    for suite in tree.iter("testsuite"):
        total["tests"] += int(suite.get("tests", 0))
        total["failed"] += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        total["skipped"] += int(suite.get("skipped", 0))
    for element in tree.iter():
        # a mask over the text of the file could break its markup
        element.text, element.tail = mask(element.text or ""), mask(element.tail or "")
        for name, value in element.items():
            element.set(name, mask(value))
    tree.write(junit, encoding="utf-8", xml_declaration=True)
    return total


def _line_rate(coverage: Path) -> float:
    return round(100 * float(ET.parse(coverage).getroot().get("line-rate", 0)), 1)  # noqa: S314


def _still_there(ctx: Context[Inputs], outputs: Mapping[str, Json]) -> bool:
    files = (outputs.get("junit"), outputs.get("coverage"))
    return all((ctx.project / file).is_file() for file in files if file)


def _asks(config: Config) -> tuple[Credential, ...]:
    return (ARTIFACTORY,) if config.section("test").requirements and config.artifactory.url else ()


EXAMPLE = """\
name: my-service
test:
  paths: [tests]
  package: [my_service]
  requirements: [requirements.txt, requirements-dev.txt]
  options: [--cov-fail-under=85]
"""

STEP = Step(
    name="test",
    summary="run the project's tests and measure their coverage",
    stage="Test",
    inputs=Inputs,
    jenkins="runTests",
    outputs={
        "tests": "number of tests",
        "failed": "number of failures and errors",
        "skipped": "number of skipped tests",
        "coverage_percent": "covered lines, in percent",
        "junit": "JUnit XML, relative to the project",
        "coverage": "Cobertura XML, relative to the project",
    },
    example=EXAMPLE,
    credentials=(ARTIFACTORY,),
    asks=_asks,
    systems=("artifactory",),
    tools=("python",),
    reads=_reads,
    memory=1024 * 2**20,
    reports={"junit": "junit.xml", "coverage": "coverage.xml"},
    run=_run,
    still_there=_still_there,
)
