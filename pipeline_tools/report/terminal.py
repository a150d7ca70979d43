"""The summary of a run on a terminal or in a CI log."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from pipeline_tools.display import COLOURS, MARKS, ToldConsole
from pipeline_tools.masking import mask
from pipeline_tools.report.html import left
from pipeline_tools.run import RunRecord


def summary(record: RunRecord) -> None:
    """Print what each step did and left, then the error if there was one."""
    console = ToldConsole(stderr=True, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 160
    table = Table(title=f"{record.project} {record.version}", title_justify="left", box=None, pad_edge=False)
    for heading in ("step", "result", "time", "what it left"):
        table.add_column(heading, justify="right" if heading == "time" else "left", overflow="fold")
    for step in record.steps:
        colour = COLOURS.get(step.status, "dim")
        seconds = f"{step.seconds:.1f} s" if step.seconds else ""
        made = escape("\n".join(left(step)) if step.outputs else mask(step.reason))
        table.add_row(step.id, f"[{colour}]{MARKS[step.status]} {step.status}[/{colour}]", seconds, made)
    console.print()
    console.print(table)
    for error in record.errors:
        where = f" in {error['step']}" if error["step"] else ""
        console.print(f"\n[bold red]{error['class']} error{where}:[/bold red] {escape(mask(str(error['message'])))}")
        for line in str(error.get("details") or "").splitlines()[-30:]:
            console.print(f"  {escape(mask(line))}")
        for key in ("hint", "link"):
            if error.get(key):
                console.print(f"→ {escape(str(error[key]))}", soft_wrap=True)
    waiting = [step for step in record.steps if step.status == "waiting"]
    if waiting and not record.errors:
        console.print(f"\n[yellow]{escape(waiting[0].reason)}: run the same again with --approve.[/yellow]")
    slowest = sorted((step for step in record.steps if step.seconds), key=lambda step: -step.seconds)[:3]
    slow = f" (slowest: {', '.join(f'{step.id} {step.seconds:.1f} s' for step in slowest)})" if slowest else ""
    console.print(
        f"\nrun {record.id} took {record.seconds:.1f} s{slow}; report: {record.folder / 'report.html'}",
        soft_wrap=True,
    )
