"""A lineage on a terminal or in a CI log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline_tools.lineage.graph import KINDS, Graph, Link, Node, short
from pipeline_tools.masking import mask


@dataclass(frozen=True, kw_only=True)
class Row:
    """A node on the way from the start: how far it is, its link, and whether it stood above already."""

    depth: int
    node: Node
    link: Link
    again: bool


def rows(graph: Graph, start: str, *, back: bool) -> Iterator[Row]:
    """What a node came from, or with ``back`` what came of it: each node once in full, the start itself left out."""
    seen = {start}
    links = graph.shortest()

    def walk(key: str, depth: int) -> Iterator[Row]:
        beyond = [
            (link.of if back else link.origin, link) for link in links if key == (link.origin if back else link.of)
        ]
        for other, link in sorted(beyond, key=lambda each: KINDS.index(graph.nodes[each[0]].kind)):
            again = other in seen
            seen.add(other)
            yield Row(depth=depth, node=graph.nodes[other], link=link, again=again)
            if not again:
                yield from walk(other, depth + 1)

    return walk(start, 1)


def facts(node: Node) -> str:
    """What is known of a node, in one line; not what its title says."""
    return ", ".join(f"{name} {value}" for name, value in node.facts.items() if name not in ("namespace", "file"))


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
        where = f"{graph.nodes[gap.of].kind} {graph.nodes[gap.of].title}" if gap.of else "what runs"
        says = escape(mask(f"at {where}: {gap.says}"))
        console.print(f"\n[bold red]✘ missing[/bold red] {says}", soft_wrap=True)
        if gap.hint:
            console.print(f"→ {escape(mask(gap.hint))}", soft_wrap=True)


def _table(found: list[Row]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("what", "which", "what is known of it", "where the link was read"):
        made.add_column(heading, overflow="fold")
    for row in found:
        what = f"{'  ' * (row.depth - 1)}{row.node.kind}"
        about = "(above)" if row.again else short(facts(row.node))
        cells = (what, row.node.title, about, f"{row.link.says}: {row.link.read}")
        made.add_row(*(escape(mask(cell)) for cell in cells), style="dim" if row.again else "")
    return made
