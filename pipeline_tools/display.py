"""How a run looks while it happens: a live terminal, plain lines for a CI log, or JSON lines for machines."""

from __future__ import annotations

import json
import sys
import threading
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.status import Status as Spinner

from pipeline_tools.masking import mask, mask_values
from pipeline_tools.plan import PlannedStep
from pipeline_tools.run import Display, StepRecord
from pipeline_tools.step import Json

LogFormat = Literal["auto", "plain", "json"]
MARKS = {"passed": "✔", "unchanged": "=", "failed": "✘", "interrupted": "✘", "waiting": "…", "not run": "-"}
COLOURS = {"passed": "green", "unchanged": "cyan", "failed": "red", "interrupted": "red", "waiting": "yellow"}


def make(log_format: LogFormat, *, quiet: bool = False) -> Display:
    """The display for ``log_format``; ``auto`` is live on a terminal and plain elsewhere."""
    if log_format == "json":
        return JsonDisplay()
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return TextDisplay(console, live=log_format == "auto" and console.is_terminal, quiet=quiet)


class TextDisplay:
    """Lines as they come, each step between a line that says it begins and one that says how it ended."""

    def __init__(self, console: Console, *, live: bool, quiet: bool) -> None:
        self.console = console
        self.live = live
        self.quiet = quiet
        self._spinner: Spinner | None = None
        self._lock = threading.Lock()

    def step_started(self, step: PlannedStep) -> None:
        """Announce the step."""
        self.console.print(f"[bold]▶ {step.id}[/bold]: {escape(step.summary)}")
        if self.live:
            self._spinner = self.console.status(f"{step.id} …")
            self._spinner.start()

    def line(self, step: PlannedStep, text: str) -> None:
        """Show a line of output, with the step's name where lines of several steps may meet."""
        if not self.quiet:
            with self._lock:
                self.console.print(f"[dim]  {step.id} |[/dim] {escape(text)}")

    def step_ended(self, record: StepRecord) -> None:
        """Say how the step ended."""
        if self._spinner is not None:
            self._spinner.stop()
            self._spinner = None
        colour = COLOURS.get(record.status, "white")
        time = f" in {record.seconds:.1f} s" if record.seconds else ""
        why = f": {escape(mask(record.reason))}" if record.status != "passed" else ""
        self.console.print(f"[{colour}]{MARKS[record.status]} {record.id} {record.status}[/{colour}]{time}{why}")

    def event(self, event: Json) -> None:
        """Events are for machines."""


class JsonDisplay:
    """Every event and line of output as a JSON object on a line of standard output."""

    def step_started(self, step: PlannedStep) -> None:
        """The event says it."""

    def line(self, step: PlannedStep, text: str) -> None:
        """A line of output."""
        self.event({"event": "output", "step": step.id, "text": text})

    def step_ended(self, record: StepRecord) -> None:
        """The event says it."""

    def event(self, event: Json) -> None:
        """Print an event."""
        sys.stdout.write(json.dumps(mask_values(event), ensure_ascii=False) + "\n")
        sys.stdout.flush()
