"""A lineage as a drawing: where each box and line goes. The chain is short and nearly a line, so rows are enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline_tools.lineage.graph import Graph, Link, Node, short

# Sizes in the drawing's own units, about a pixel each.
WIDTH, HEIGHT, BESIDE, BELOW = 268, 60, 20, 44
# More things than these that are linked alike are one box.
ALIKE = 4
# Characters that fit into a box.
TITLE, ABOUT = 34, 39
# What is told of each kind in its box: the first of these that is known.
TOLD = {
    "request": ("model-version",),
    "pod": ("state",),
    "release": ("revision",),
    "chart": ("digest",),
    "image": ("version",),
    "model": ("sha256",),
    "commit": ("subject", "repository"),
    "source": ("content",),
}


@dataclass(frozen=True, kw_only=True)
class Box:
    """A thing, or several alike; ``x`` and ``y`` are its upper left corner, ``full`` is all that is known."""

    kind: str
    title: str
    about: str
    full: str
    x: float
    y: float
    broken: bool
    start: bool


@dataclass(frozen=True, kw_only=True)
class Line:
    """From the foot of a box to the head of what it came from; ``path`` as SVG writes it."""

    path: str
    full: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What a template draws, and a sentence that says it."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    summary: str


def draw(graph: Graph, start: str) -> Drawing:
    """Rows from what answers down to what it was made from."""
    links = graph.shortest()
    groups = _alike(graph.nodes, links, start)
    of = {key: name for name, keys in groups.items() for key in keys}
    joined: dict[tuple[str, str], list[Link]] = {}
    for link in links:
        joined.setdefault((of[link.of], of[link.origin]), []).append(link)
    rows = _rows(groups, joined)
    width = max(len(row) for row in rows) * (WIDTH + BESIDE) - BESIDE
    place: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        left = (width - len(row) * (WIDTH + BESIDE) + BESIDE) / 2
        for position, name in enumerate(row):
            place[name] = (left + position * (WIDTH + BESIDE), number * (HEIGHT + BELOW))
    broken = {gap.of for gap in graph.gaps}
    boxes = tuple(
        _box([graph.nodes[key] for key in keys], place[name], broken=bool(broken & {*keys}), start=start in keys)
        for name, keys in groups.items()
    )
    lines = tuple(
        Line(path=_path(place[above], place[below]), full=f"{several[0].says}: {several[0].read}")
        for (above, below), several in joined.items()
    )
    chain = ", ".join(" and ".join(dict.fromkeys(graph.nodes[groups[name][0]].kind for name in row)) for row in rows)
    height = len(rows) * (HEIGHT + BELOW) - BELOW
    missing = f" Missing links: {len(graph.gaps)}." if graph.gaps else ""
    summary = f"From what runs to what it was made from: {chain}.{missing}"
    return Drawing(width=width, height=height, boxes=boxes, lines=lines, summary=summary)


def _alike(nodes: Mapping[str, Node], links: Iterable[Link], start: str) -> dict[str, list[str]]:
    """Keys by the box that they are in; many of one kind with the same neighbours are one."""
    neighbours: dict[str, set[tuple[str, str]]] = {key: set() for key in nodes}
    for link in links:
        neighbours[link.of].add(("from", link.origin))
        neighbours[link.origin].add(("of", link.of))
    alike: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = {}
    for key, node in nodes.items():
        alike.setdefault((node.kind, frozenset(neighbours[key])), []).append(key)
    groups: dict[str, list[str]] = {}
    for keys in alike.values():
        if len(keys) > ALIKE and start not in keys:
            groups[keys[0]] = keys
        else:
            groups |= {key: [key] for key in keys}
    return groups


def _rows(groups: Mapping[str, object], joined: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The boxes' names by row, each below all that came of it, and near the middle of these."""
    above: dict[str, list[str]] = {name: [] for name in groups}
    for upper, lower in joined:
        above[lower].append(upper)
    depth: dict[str, int] = {}

    def deep(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((deep(upper) for upper in above[name]), default=-1)
        return depth[name]

    rows: list[list[str]] = [[] for _ in range(1 + max(deep(name) for name in groups))]
    for name in groups:
        rows[depth[name]].append(name)
    position: dict[str, float] = {}
    for row in rows:
        row.sort(key=lambda name: sum(position[upper] for upper in above[name]) / max(1, len(above[name])))
        position |= {name: index - len(row) / 2 for index, name in enumerate(row)}
    return rows


def _box(nodes: list[Node], place: tuple[float, float], *, broken: bool, start: bool) -> Box:
    first = nodes[0]
    if len(nodes) > 1:
        title, about = f"{len(nodes)} {first.kind}s", ", ".join(node.title for node in nodes)
        full = "\n".join(node.title for node in nodes)
    else:
        known = [(name, first.facts[name]) for name in TOLD[first.kind] if first.facts.get(name)]
        title, about = first.title, short(" ".join(known[0])) if known else ""
        full = "\n".join([first.id, *(f"{name}: {value}" for name, value in first.facts.items())])
    return Box(
        kind=first.kind,
        title=_cut(title, TITLE),
        about=_cut(about, ABOUT),
        full=full,
        x=place[0],
        y=place[1],
        broken=broken,
        start=start,
    )


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _path(above: tuple[float, float], below: tuple[float, float]) -> str:
    x, y = above[0] + WIDTH / 2, above[1] + HEIGHT
    to_x, to_y = below[0] + WIDTH / 2, below[1]
    middle = (y + to_y) / 2
    return f"M{x:g} {y:g}C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y - 5:g}"
