"""The claims that the model learns from and is judged by."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

SEPARATOR = "|"
_NEAR = {
    "a": "s", "b": "v", "c": "v", "d": "s", "e": "r", "f": "g", "g": "h", "h": "j", "i": "o", "j": "k", "k": "l",
    "l": "k", "m": "n", "n": "m", "o": "p", "p": "o", "q": "w", "r": "t", "s": "d", "t": "r", "u": "y", "v": "b",
    "x": "c", "y": "u", "z": "s",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A text, its trades (the first mends what is claimed), and the group of near texts that it belongs to.

    ``reviewed``: somebody labelled it by hand, so its labels count for more.
    """

    text: str
    labels: tuple[str, ...]
    group: int
    reviewed: bool


def curated(file: Path) -> tuple[list[Claim], list[Claim]]:
    """The claims of ``curadas.parquet`` to train with and those to test with."""
    parts: dict[str, list[Claim]] = {"train": [], "test": []}
    for row in pq.read_table(file, columns=["texto", "etiquetas", "grupo", "particion", "fuente"]).to_pylist():
        labels = tuple(row["etiquetas"].split(SEPARATOR))
        reviewed = row["fuente"] == "revisadas"
        claim = Claim(text=row["texto"], labels=labels, group=row["grupo"], reviewed=reviewed)
        parts[row["particion"]].append(claim)
    return parts["train"], parts["test"]


def hand_written(file: Path) -> list[Claim]:
    """The evaluation claims: columns ``texto`` and ``etiquetas``, each its own group."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [
            Claim(text=row["texto"], labels=tuple(row["etiquetas"].split(SEPARATOR)), group=number, reviewed=True)
            for number, row in enumerate(csv.DictReader(rows))
        ]


def mistyped(rng: random.Random, text: str, *, typos: float, missing: float = 0.0) -> str:
    """``text`` with a share ``typos`` of its words mistyped, and a share ``missing`` gone if it has more than three.

    A text of a word long enough has at least one typing error.
    """
    words = text.split()
    if len(words) > 3:
        words = [word for word in words if rng.random() >= missing] or words
    long = [index for index, word in enumerate(words) if len(word) > 3]
    for index in rng.sample(long, min(len(long), max(1, round(typos * len(words)))) if typos else 0):
        words[index] = _typo(rng, words[index])
    return " ".join(words)


def _typo(rng: random.Random, word: str) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[:at] + word[at] + word[at:]
    return word[:at] + _NEAR.get(word[at].lower(), "e") + word[at + 1 :]
