"""What the ledger knows of earlier runs, for a terminal: their list, one of them, and why two of them differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline_tools.display import COLOURS, MARKS
from pipeline_tools.errors import ConfigError
from pipeline_tools.ledger import Ledger, read_json
from pipeline_tools.masking import mask
from pipeline_tools.names import nearest
from pipeline_tools.report.html import left
from pipeline_tools.run import StepRecord
from pipeline_tools.step import Json


def find(ledger: Ledger, run_id: str) -> Json:
    """The record of a run: its id, the beginning of it, or ``latest``.

    Raises:
        ConfigError: there is no such run, or several begin so.
    """
    runs = ledger.runs()
    if not runs:
        raise ConfigError(f"There is no run in {ledger.folder}.", hint="`pipeline-tools run` makes one.")
    if run_id == "latest":
        return runs[-1]
    ids = [str(run["id"]) for run in runs]
    found = [name for name in ids if name == run_id] or [name for name in ids if name.startswith(run_id)]
    if len(found) != 1:
        many = f" Several begin so: {', '.join(found)}." if found else nearest(run_id, ids)
        raise ConfigError(f"There is no run {run_id!r}.{many}", hint="`pipeline-tools history` lists them.")
    return runs[ids.index(found[0])]


def outcome(run: Json) -> str:
    """How a run ended, in a word or two."""
    code = run["exit_code"]
    if code is None:
        return "[yellow]did not end[/yellow]"
    return "[green]passed[/green]" if code == 0 else f"[red]failed ({code})[/red]"


def listing(ledger: Ledger, console: Console, *, count: int) -> None:
    """The last ``count`` runs, the newest first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "began", "version", "result", "time", "steps"):
        table.add_column(heading, justify="right" if heading == "time" else "left", no_wrap=True, overflow="ignore")
    for run in ledger.runs()[: -count - 1 : -1]:
        began = datetime.fromisoformat(run["started"]).astimezone().strftime("%Y-%m-%d %H:%M")
        steps = " ".join(f"{MARKS[step['status']]}{step['id']}" for step in run["steps"])
        table.add_row(run["id"], began, run["version"], outcome(run), f"{run['seconds']:.1f} s", escape(steps))
    console.print(table, crop=False)


def details(ledger: Ledger, run: Json, console: Console) -> None:
    """What each step of a run did and left, and where its files are."""
    console.print(f"[bold]{run['id']}[/bold]: {run['project']} {run['version']}, {outcome(run)}")
    for entry in run["steps"]:
        step = StepRecord(**entry)
        colour = COLOURS.get(step.status, "dim")
        console.print(f"\n[{colour}]{MARKS[step.status]} {step.id} {step.status}[/{colour}] {escape(step.reason)}")
        for line in left(step):
            console.print(f"    {escape(mask(line))}")
    for error in run["errors"]:
        console.print(f"\n[red]{error['class']} error in {error['step']}:[/red] {escape(error['message'])}")
        if error["hint"]:
            console.print(f"→ {escape(error['hint'])}")
    console.print(f"\nfiles: {ledger.folder / 'runs' / run['id']}", soft_wrap=True)


def difference(ledger: Ledger, one: Json, other: Json) -> Iterator[str]:
    """For each step of both runs what it read in one and not, or otherwise, in the other."""
    folder = ledger.folder / "runs"
    later = {step["id"]: step for step in other["steps"]}
    for step in one["steps"]:
        if step["id"] not in later:
            continue
        reads = [read_json(folder / run["id"] / "steps" / step["id"] / "reads.json") for run in (one, other)]
        if None in reads:
            continue
        lines = list(_changes("", *reads))
        yield f"{step['id']}: " + ("reads the same" if not lines else "reads something else")
        yield from (f"  {line}" for line in lines)


def _changes(key: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in sorted({*one, *other}):
            yield from _changes(f"{key}.{name}" if key else name, one.get(name), other.get(name))
    elif one != other:
        place, _, file = key.partition(".")
        if place == "files":
            word = "added" if one is None else "removed" if other is None else "changed"
            yield f"file {file} {word}"
        else:
            yield f"{key}: {one!r} → {other!r}"
