"""The project's own programs, which check its data, measure its model or build what is published.

A program is told by its exit code: 0 passed, 3 the product is not good enough; anything else is an error.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline_tools.errors import ConfigError, QualityError
from pipeline_tools.failures import explained
from pipeline_tools.masking import mask
from pipeline_tools.names import nearest
from pipeline_tools.process import Result, run
from pipeline_tools.step import Context, Duration, Json, StepInputs, duration

NOT_GOOD_ENOUGH = 3
REPORT, SUMMARY = "report.html", "summary.json"
# What a step that calls `judge` declares of it.
OUTPUTS = {
    "report": "HTML report, relative to the project",
    "summary": "JSON summary, relative to the project",
    "figures": "the numbers of the summary",
}
REPORTS = {"html": REPORT, "archive": SUMMARY}
# Lines of its output that are told when it fails.
LAST_LINES = 20


class ProgramInputs(StepInputs):
    """A program of the project that judges something and writes a report."""

    command: list[str] = Field(
        [],
        description="The program, run in the project's folder; exit code 3: not good enough. `{out}` is a folder for "
        "what it writes.",
    )
    report: str | None = Field(None, description="HTML report that it writes; `{out}/…` or relative to the project.")
    summary: str | None = Field(None, description="JSON that it writes; the numbers in it become the step's figures.")
    timeout: Duration = Field(duration("30m"), description="How long it may take.")


def filled(words: Sequence[str], values: Mapping[str, str], key: str) -> list[str]:
    """``words`` with each ``{name}`` replaced by its value.

    Raises:
        ConfigError: there is no such name; ``key`` tells where it was written.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise ConfigError(
                f"{key} has {{{name}}}, which means nothing there.{nearest(name, sorted(values))}",
                hint=f"It can have {', '.join(f'{{{each}}}' for each in sorted(values))}.",
            )
        return values[name]

    return [re.sub(r"\{(\w+)\}", value, word) for word in words]


def call(
    ctx: Context[Any],
    command: Sequence[str],
    *,
    key: str,
    timeout: float,
    judged: Collection[int] = (NOT_GOOD_ENOUGH,),
) -> Result:
    """Run a program in the project's folder, until it passes or says that something is not good enough (``judged``).

    Raises:
        ConfigError: no program is named, or it failed for a reason of its own.
        InfrastructureError: it failed for a reason that is known to be outside.
    """
    if not command:
        hint = f"Set it, or leave the step out: {key.partition('.')[0]}.enabled: false."
        raise ConfigError(f"{key} is empty: there is nothing to run.", hint=hint)
    argv = [str(ctx.project / command[0]) if command[0].startswith("./") else command[0], *command[1:]]
    done = run(argv, cwd=ctx.project, timeout=timeout, log=ctx.log, ok=range(256))
    if done.exit_code not in (0, *judged):
        raise explained(
            "program",
            "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:]),
            f"{command[0]} exited with {done.exit_code}.",
            otherwise=ConfigError,
            hint="Its output above says why.",
        )
    return done


def judge(ctx: Context[Any], section: str, words: Sequence[str], values: Mapping[str, str]) -> dict[str, Json]:
    """Run the program of a section with more words; returns outputs: ``report``, ``summary`` and ``figures``.

    The report is kept also when the program says that the product is not good enough.

    Raises:
        QualityError: it is not.
        ConfigError: the program does not leave what the configuration says.
    """
    inputs: ProgramInputs = ctx.inputs
    outputs: dict[str, Json] = {"report": None, "summary": None, "figures": {}}
    # not in the step's folder, which is published as it is: what a program writes is not masked
    with tempfile.TemporaryDirectory(prefix="pipeline-tools-") as work:
        values = {"out": work, **values}
        command = filled([*inputs.command, *words], values, f"{section}.command")
        done = call(ctx, command, key=f"{section}.command", timeout=inputs.timeout)
        for name, written, kept in (("report", inputs.report, REPORT), ("summary", inputs.summary, SUMMARY)):
            if written is not None:
                source = ctx.project / filled([written], values, f"{section}.{name}")[0]
                if not source.is_file():
                    raise ConfigError(f"{inputs.command[0]} did not write {source}, which {section}.{name} names.")
                (ctx.out / kept).write_text(mask(source.read_text(encoding="utf-8")), encoding="utf-8")
                outputs[name] = ctx.relative(ctx.out / kept)
    if outputs["summary"]:
        outputs["figures"] = _figures(ctx.out / SUMMARY)
    if done.exit_code == NOT_GOOD_ENOUGH:
        said = "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:])
        raise QualityError(
            f"{' '.join(inputs.command[:2])} says that it is not good enough.",
            hint=f"The report says why: {outputs['report']}" if outputs["report"] else "Its output says why.",
            details=mask(said),
        )
    return outputs


def _figures(summary: Path) -> dict[str, float]:
    try:
        found = json.loads(summary.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{summary} is no JSON.", details=str(error)) from error
    if not isinstance(found, dict):
        raise ConfigError(f"{summary} is not a JSON object of figures.")
    return {
        name: value for name, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def left(ctx: Context[Any], outputs: Mapping[str, Json]) -> bool:
    """Whether the files that a judgement left are still there."""
    return all((ctx.project / outputs[name]).is_file() for name in ("report", "summary") if outputs.get(name))
