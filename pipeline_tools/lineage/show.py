"""A lineage on a terminal or in a CI log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline_tools.lineage.graph import KINDS, Graph, Node
from pipeline_tools.masking import mask


@dataclass(frozen=True, kw_only=True)
class Row:
    """A node on the way from the start: how far it is, by what it is linked, and whether it stood above already."""

    depth: int
    node: Node
    says: str
    read: str
    again: bool


def rows(graph: Graph, start: str, *, back: bool) -> Iterator[Row]:
    """What a node came from, or with ``back`` what came of it: each node once in full, the start itself left out."""
    seen = {start}

    def walk(key: str, depth: int) -> Iterator[Row]:
        links = graph.products(key) if back else graph.origins(key)
        beyond: dict[str, list[tuple[str, str]]] = {}
        for link in links:
            beyond.setdefault(link.of if back else link.origin, []).append((link.says, link.read))
        for other in sorted(beyond, key=lambda other: KINDS.index(graph.nodes[other].kind)):
            again = other in seen
            seen.add(other)
            says, reads = zip(*beyond[other], strict=True)
            yield Row(
                depth=depth,
                node=graph.nodes[other],
                says=" and ".join(dict.fromkeys(says)),
                read="; ".join(dict.fromkeys(reads)),
                again=again,
            )
            if not again:
                yield from walk(other, depth + 1)

    return walk(start, 1)


def facts(node: Node) -> str:
    """What is known of a node, in one line."""
    return ", ".join(f"{name} {value}" for name, value in node.facts.items())


def table(graph: Graph, start: str, console: Console) -> None:
    """Print what a thing came from, what came of it, and what is missing."""
    node = graph.nodes[start]
    console.print(f"[bold]{node.kind} {escape(mask(node.title))}[/bold]  {escape(mask(facts(node)))}")
    nothing = True
    for heading, back in (("It came from", False), ("What came of it", True)):
        found = list(rows(graph, start, back=back))
        if found:
            nothing = False
            console.print(f"\n[bold]{heading}[/bold]")
            console.print(_table(found))
    if nothing and not graph.gaps:
        console.print("Nothing that runs or is published came of it.")
    for gap in graph.gaps:
        where = f"{graph.nodes[gap.of].kind} {graph.nodes[gap.of].title}: " if gap.of else ""
        console.print(f"\n[bold red]✘ missing[/bold red] {escape(mask(where + gap.says))}", soft_wrap=True)
        if gap.hint:
            console.print(f"→ {escape(mask(gap.hint))}", soft_wrap=True)


def _table(found: list[Row]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("what", "which", "what is known of it", "where the link was read"):
        made.add_column(heading, overflow="fold")
    for row in found:
        what = f"{'  ' * (row.depth - 1)}{row.node.kind}"
        about = "(above)" if row.again else facts(row.node)
        cells = (what, row.node.title, about, f"{row.says}: {row.read}")
        made.add_row(*(escape(mask(cell)) for cell in cells), style="dim" if row.again else "")
    return made
