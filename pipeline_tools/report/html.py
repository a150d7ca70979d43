"""The HTML page of a run: one file, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, PackageLoader

from pipeline_tools.masking import mask
from pipeline_tools.run import RunRecord, StepRecord


def left(step: StepRecord) -> Iterator[str]:
    """What a step left, one ``name: value`` a line."""
    for name, value in step.outputs.items():
        if value not in (None, "", [], {}):
            if isinstance(value, dict):
                value = [f"{key} {of}" for key, of in value.items()]
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{name.replace('_', ' ')}: {shown}"


def write(record: RunRecord, path: Path) -> None:
    """Write the page of a run to ``path``."""
    pages = Environment(loader=PackageLoader("pipeline_tools.report"), autoescape=True, trim_blocks=True)
    outcome = {None: "running", 0: "passed"}.get(record.exit_code, "failed")
    page = pages.get_template("run.html").render(run=record, left=left, outcome=outcome)
    path.write_text(mask(page), encoding="utf-8")
