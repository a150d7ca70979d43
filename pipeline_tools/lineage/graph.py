"""What was found: things, the links between them, each with where it was read, and the links that are missing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Literal, get_args

from pipeline_tools.errors import QualityError
from pipeline_tools.step import Json

Kind = Literal["request", "pod", "release", "chart", "image", "model", "commit", "source"]
# From what answers to what it was made from.
KINDS: tuple[Kind, ...] = get_args(Kind)


# Of the JSON form.
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Node:
    """A thing.

    Attributes:
        id: unique among the things of its kind: NAMESPACE/NAME, a digest, NAME==VERSION, a commit's id.
        title: what people call it.
        facts: what else is known of it.
    """

    kind: Kind
    id: str
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Unique among all."""
        return f"{self.kind} {self.id}"


@dataclass(frozen=True, kw_only=True)
class Link:
    """The node ``of`` came from the node ``origin``; ``says`` completes "it was …", ``read`` is where that stands."""

    of: str
    origin: str
    says: str
    read: str


@dataclass(frozen=True, kw_only=True)
class Gap:
    """Something that is not known of a node, or of all (``of`` is empty), and how that can be mended.

    ``exit_code`` is that of the class of error: 3 for a link that is not there, 4 and 5 for one that could not be read.
    """

    of: str
    says: str
    hint: str
    exit_code: int = QualityError.exit_code


def short(text: str) -> str:
    """A text with digests and commits by their first twelve digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b", r"\1", text)


class Graph:
    """Nodes by key, in the order in which they were found."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.links: list[Link] = []
        self.gaps: list[Gap] = []

    def add(self, node: Node) -> str:
        """Add a node, or facts to the one that is there; returns its key."""
        there = self.nodes.get(node.key)
        if there is not None:
            node = Node(kind=node.kind, id=node.id, title=there.title, facts={**there.facts, **node.facts})
        self.nodes[node.key] = node
        return node.key

    def link(self, of: str, origin: str, says: str, read: str) -> None:
        """Add a link, once for each place where it was read."""
        made = Link(of=of, origin=origin, says=says, read=read)
        if made not in self.links:
            self.links.append(made)

    def gap(self, of: str, says: str, hint: str, exit_code: int = QualityError.exit_code) -> None:
        """Add a gap, once."""
        made = Gap(of=of, says=says, hint=hint, exit_code=exit_code)
        if made not in self.gaps:
            self.gaps.append(made)

    def origins(self, key: str) -> Iterator[Link]:
        """The links to what a node came from."""
        return (link for link in self.links if link.of == key)

    def products(self, key: str) -> Iterator[Link]:
        """The links to what came of a node."""
        return (link for link in self.links if link.origin == key)

    def shortest(self) -> list[Link]:
        """One link between two nodes, and none that a longer way says as well: a pod's image is also its release's."""
        once: dict[tuple[str, str], Link] = {}
        beyond: dict[str, set[str]] = {}
        for link in self.links:
            once.setdefault((link.of, link.origin), link)
            beyond.setdefault(link.of, set()).add(link.origin)

        @cache
        def reaches(above: str, below: str) -> bool:
            return any(other == below or reaches(other, below) for other in beyond.get(above, ()))

        return [
            link
            for (above, below), link in once.items()
            if not any(reaches(other, below) for other in beyond[above] - {below})
        ]

    def around(self, start: str) -> Graph:
        """The part that has to do with one node: what it came from, what came of it, and the gaps of these."""
        kept = {start}
        for up in (True, False):
            left = [start]
            while left:
                key = left.pop()
                links = self.origins(key) if up else self.products(key)
                beyond = {link.origin if up else link.of for link in links} - kept
                kept |= beyond
                left += beyond
        part = Graph()
        part.nodes = {key: node for key, node in self.nodes.items() if key in kept}
        part.links = [link for link in self.links if link.of in kept and link.origin in kept]
        part.gaps = [gap for gap in self.gaps if not gap.of or gap.of in kept]
        return part

    @property
    def exit_code(self) -> int:
        """0 when no link is missing; 4 or 5 when one could not be read: then what is missing is not certain."""
        return max((gap.exit_code for gap in self.gaps), default=0)

    def as_json(self) -> Json:
        """The graph as `from_json` reads it."""
        return {
            "version": VERSION,
            "whole": not self.gaps,
            "nodes": [{"key": node.key, **asdict(node)} for node in self.nodes.values()],
            "links": [asdict(link) for link in self.links],
            "missing": [asdict(gap) for gap in self.gaps],
        }


def from_json(value: Json) -> Graph:
    """The graph that `Graph.as_json` wrote.

    Raises:
        KeyError, TypeError: it is none.
    """
    graph = Graph()
    for node in value["nodes"]:
        graph.add(Node(**{name: of for name, of in node.items() if name != "key"}))
    graph.links = [Link(**link) for link in value["links"]]
    graph.gaps = [Gap(**gap) for gap in value["missing"]]
    return graph
