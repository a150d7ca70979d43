"""How a run looks while it happens: a live terminal, plain lines for a CI log, or JSON lines for machines."""

from __future__ import annotations

import json
import sys
import time
from typing import Literal

from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from pipeline_tools.masking import mask, mask_values
from pipeline_tools.plan import PlannedStep
from pipeline_tools.run import Display, StepRecord
from pipeline_tools.step import Json

LogFormat = Literal["auto", "plain", "json"]
MARKS = {
    "passed": "✔",
    "unchanged": "=",
    "failed": "✘",
    "interrupted": "✘",
    "waiting": "…",
    "running": "▶",
    "not run": "-",
}
COLOURS = {"passed": "green", "unchanged": "cyan", "failed": "red", "interrupted": "red", "waiting": "yellow"}


def make(log_format: LogFormat, *, quiet: bool = False, verbose: bool = False) -> Display:
    """The display for ``log_format``; ``auto`` is live on a terminal and plain elsewhere."""
    if log_format == "json":
        return JsonDisplay()
    console = ToldConsole(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    return TextDisplay(console, live=log_format == "auto" and console.is_terminal, quiet=quiet, verbose=verbose)


class ToldConsole(Console):
    """A console that raises BrokenPipeError when nobody reads it any more; rich's own ends the program."""

    def on_broken_pipe(self) -> None:
        """Say so, once."""
        self.quiet = True
        raise BrokenPipeError


class _AtWork:
    """A line for each step at work, with the time since it began; rich draws it anew."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.spinner = Spinner("dots")

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for name, begun in self.begun.items():
            table.add_row(self.spinner, name, f"{time.monotonic() - begun:.0f} s")
        return table


class TextDisplay:
    """Lines as they come, each step between a line that says it begins and one that says how it ended.

    Of steps that run at the same time one is shown as it goes; the others' lines are held back until it has ended, so
    that they do not interleave.
    """

    def __init__(self, console: Console, *, live: bool, quiet: bool, verbose: bool = False) -> None:
        self.console = console
        self.quiet = quiet
        self.verbose = verbose
        self._held: dict[str, list[str]] = {}  # of the steps at work; the first is shown
        self._done: set[str] = set()
        self._at_work = _AtWork()
        self._live = Live(self._at_work, console=console, transient=True, refresh_per_second=8) if live else None
        if self._live:
            self._live.start()

    def step_started(self, step: PlannedStep) -> None:
        """Announce the step."""
        self._at_work.begun[step.id] = time.monotonic()
        self._print(step.id, f"[bold]▶ {step.id}[/bold]: {escape(step.summary)}")

    def line(self, step: PlannedStep, text: str) -> None:
        """A line of output, with the step's name."""
        if not self.quiet:
            self._print(step.id, f"[dim]  {step.id} |[/dim] {escape(text)}")

    def note(self, text: str) -> None:
        """A line about the run itself."""
        self.console.print(f"[yellow]{escape(text)}[/yellow]")

    def step_ended(self, record: StepRecord) -> None:
        """Say how the step ended."""
        self._at_work.begun.pop(record.id, None)
        colour = COLOURS.get(record.status, "white")
        time = f" in {record.seconds:.1f} s" if record.seconds else ""
        why = f": {escape(mask(record.reason))}" if record.status != "passed" else ""
        self._print(record.id, f"[{colour}]{MARKS[record.status]} {record.id} {record.status}[/{colour}]{time}{why}")
        self._done.add(record.id)
        while self._held and next(iter(self._held)) in self._done:
            del self._held[next(iter(self._held))]
            for line in next(iter(self._held.values()), []):
                self.console.print(line)

    def _print(self, step_id: str, line: str) -> None:
        self._held.setdefault(step_id, []).append(line)
        if step_id == next(iter(self._held)):
            self._held[step_id].clear()
            self.console.print(line)

    def event(self, event: Json) -> None:
        """Events are for machines, and for who wants to know it all."""
        if self.verbose:
            values = ", ".join(f"{name} {value}" for name, value in event.items() if name not in ("time", "event"))
            line = f"[dim]{event['event']}: {escape(values)}[/dim]"
            self._print(event["step"], line) if "step" in event else self.console.print(line)

    def close(self) -> None:
        """Take the live lines away."""
        if self._live:
            self._live.stop()


class JsonDisplay:
    """Every event and line of output as a JSON object on a line of standard output."""

    def step_started(self, step: PlannedStep) -> None:
        """The event says it."""

    def line(self, step: PlannedStep, text: str) -> None:
        """A line of output."""
        self.event({"event": "output", "step": step.id, "text": text})

    def note(self, text: str) -> None:
        """A line about the run itself."""
        self.event({"event": "note", "text": text})

    def step_ended(self, record: StepRecord) -> None:
        """The event says it."""

    def close(self) -> None:
        """The last event says it."""

    def event(self, event: Json) -> None:
        """Print an event."""
        sys.stdout.write(json.dumps(mask_values(event), ensure_ascii=False) + "\n")
        sys.stdout.flush()
