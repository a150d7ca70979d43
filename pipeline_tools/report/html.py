"""The HTML pages of a run and of a lineage: one file each, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from pipeline_tools.display import MARKS
from pipeline_tools.ledger import read_json, replace
from pipeline_tools.lineage.graph import VERSION as GRAPH_VERSION
from pipeline_tools.lineage.graph import Graph, from_json
from pipeline_tools.lineage.show import facts, rows
from pipeline_tools.lineage.words import LINEAGE
from pipeline_tools.masking import mask
from pipeline_tools.report.drawing import HEIGHT, WIDTH, draw
from pipeline_tools.run import RunRecord, StepRecord


def pairs(step: StepRecord) -> Iterator[tuple[str, str]]:
    """Name and value of what a step left, masked."""
    for name, value in step.outputs.items():
        if value not in (None, "", [], {}):
            if isinstance(value, dict):
                value = [f"{key} {of}" for key, of in value.items()]
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield mask(name.replace("_", " ")), mask(str(shown))


def left(step: StepRecord) -> Iterator[str]:
    """What a step left, one ``name: value`` a line, masked."""
    return (f"{name}: {value}" for name, value in pairs(step))


@dataclass(frozen=True, kw_only=True)
class Bar:
    """When a step was at work, in percent of the run: where it begins, and how long it is."""

    begin: float
    length: float


def bar(step: StepRecord, record: RunRecord) -> Bar | None:
    """The step's place in the run's time; None when it was not at work in it."""
    if not step.started or not step.seconds:
        return None
    begun = (datetime.fromisoformat(step.started) - datetime.fromisoformat(record.started)).total_seconds()
    begun = max(0.0, begun)  # the clock may have been set back meanwhile
    whole = max(record.seconds, begun + step.seconds)
    return Bar(begin=100 * begun / whole, length=100 * step.seconds / whole)


def files(step: StepRecord, record: RunRecord) -> Iterator[str]:
    """What people open of the files in the step's folder, relative to the run's."""
    folder = record.folder / "steps" / step.id
    for pattern in ("log.txt", "*.html", "*/index.html", "junit.xml"):
        yield from (file.relative_to(record.folder).as_posix() for file in sorted(folder.glob(pattern)))


def lineages(record: RunRecord) -> Iterator[tuple[str, Graph, str]]:
    """For each step that left a lineage its id, the lineage, and the key of what it begins with."""
    for step in record.steps:
        found = read_json(record.folder / "steps" / step.id / LINEAGE)
        if isinstance(found, dict) and found.get("graph", {}).get("version") == GRAPH_VERSION:
            yield step.id, from_json(found["graph"]), found["start"]


def _masked(value: object) -> object:
    # before it is escaped: a mask over the finished page could break its markup. What is markup already was masked.
    return mask(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("pipeline_tools.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_masked,
    )
    pages.globals |= {"draw": draw, "rows": rows, "facts": facts, "box_width": WIDTH, "box_height": HEIGHT}
    return pages


def _page(name: str, **values: Any) -> str:
    return _pages().get_template(name).render(**values)


def write(record: RunRecord, path: Path) -> None:
    """Write the page of a run to ``path``."""
    outcome = {None: "running", 0: "passed"}.get(record.exit_code, "failed")
    page = _page(
        "run.html",
        run=record,
        outcome=outcome,
        pairs=pairs,
        bar=bar,
        marks=MARKS,
        files=files,
        lineages=list(lineages(record)),
        began=datetime.fromisoformat(record.started),
    )
    replace(path, page)


def write_lineage(graph: Graph, start: str, path: Path) -> None:
    """Write the page of a lineage to ``path``."""
    path.write_text(_page("lineage.html", graph=graph, start=start), encoding="utf-8")
