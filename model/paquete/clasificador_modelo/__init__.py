"""Which trades mend what a home-insurance claim in Spanish tells of.

>>> from clasificador_modelo import classify
>>> classify("bañera").tokens[0].token
'fontanería'

A linear model over words, pairs of words and pieces of words; a word that it does not know is read as the commonest
that is one typing error away. It is data: two files of JSON and one table of integers; loading it runs no code, and the
sums are of integers, so every machine gives the same answer. Read the model card with `model_card`, what the model was
made from with `metadata`, answers to check an installation with by `golden`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from clasificador_modelo._texto import WORD, Spelling, pairs, pieces, words

__all__ = [
    "MAX_SCORE",
    "Classification",
    "Golden",
    "Token",
    "classify",
    "golden",
    "metadata",
    "model_card",
    "probabilities",
]

MAX_SCORE = 5
_BITS = 32
_HALF = 1 << (_BITS - 1)
_MASK = (1 << _BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Token:
    """A trade and how sure the model is that it is needed.

    ``score`` is an integer from 1 to 5: the fifth of the probability scale. 5 means a probability of 0.8 or more, 4 of
    0.6 to 0.8, 3 of 0.4 to 0.6, 2 of 0.2 to 0.4, and 1 less than 0.2.
    """

    token: str
    score: int


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The trades that a text calls for, the likeliest first; at least one, and more when several are needed."""

    tokens: tuple[Token, ...]


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A text and what this very model answers to it."""

    text: str
    answer: Classification


@dataclass(frozen=True, kw_only=True)
class _Model:
    """``rows`` has the row of each unit in ``table``: one integer with a lane a label and one for the length."""

    labels: tuple[str, ...]
    intercepts: tuple[float, ...]
    slope: float
    offset: float
    weight: float
    norm: float
    least: float
    bias: int
    width: int
    rows: dict[str, int]
    table: bytes


def _read(name: str) -> str:
    return (files(__name__) / name).read_text(encoding="utf-8")


@cache
def _model() -> _Model:
    about = json.loads(_read("modelo.json"))
    lanes = len(about["labels"]) + 1
    return _Model(
        labels=tuple(about["labels"]),
        intercepts=tuple(about["intercepts"]),
        slope=about["slope"],
        offset=about["offset"],
        weight=about["weight_unit"],
        norm=about["norm_unit"],
        least=about["least"],
        bias=sum(_HALF << (_BITS * lane) for lane in range(lanes)),
        width=lanes * _BITS // 8,
        rows={unit: row for row, unit in enumerate(about["units"].split("\n"))},
        table=(files(__name__) / "modelo.tabla").read_bytes(),
    )


def _row(model: _Model, unit: str) -> int:
    """The lanes of ``unit`` as one signed integer: a sum of such integers sums lane by lane. 0 for an unknown unit."""
    row = model.rows.get(unit)
    if row is None:
        return 0
    start = row * model.width
    return int.from_bytes(model.table[start : start + model.width], "little", signed=True)


@cache
def _spelling() -> Spelling:
    return Spelling(unit[len(WORD) :] for unit in _model().rows if unit.startswith(WORD))


@lru_cache(maxsize=1 << 15)
def _spelt(word: str) -> str:
    return _spelling().read(word)


@lru_cache(maxsize=1 << 15)
def _word(word: str) -> int:
    """The lanes of a word with its pieces: in the table for a known word, summed for another."""
    model = _model()
    return _row(model, WORD + word) or sum(_row(model, piece) for piece in pieces(word))


def probabilities(text: str) -> dict[str, float]:
    """For each label the probability (0–1) that its trade is needed; the likeliest first. They need not add up to 1."""
    model = _model()
    found = list(map(_spelt, words(text)))
    rows, total = model.rows, sum(map(_word, found))
    for pair in pairs(found):
        if pair in rows:
            total += _row(model, pair)
    lanes = total + model.bias
    count = len(model.labels)
    norm = ((lanes >> (_BITS * count)) & _MASK) - _HALF
    scale = model.weight / math.sqrt(norm * model.norm) if norm > 0 else 0.0
    ranked = []
    for index, label in enumerate(model.labels):
        value = (((lanes >> (_BITS * index)) & _MASK) - _HALF) * scale + model.intercepts[index]
        ranked.append((1 / (1 + math.exp(-model.slope * value - model.offset)), label))
    ranked.sort(key=lambda item: (-item[0], item[1]))
    return {label: probability for probability, label in ranked}


def classify(text: str) -> Classification:
    """The trades that ``text`` calls for: the likeliest, and each other that is likely enough to be sent along.

    Any text is answered, an empty one too; only its first 4,000 characters are read.
    """
    least = _model().least
    tokens = [
        Token(token=label, score=min(MAX_SCORE, 1 + int(MAX_SCORE * probability)))
        for position, (label, probability) in enumerate(probabilities(text).items())
        if position == 0 or probability >= least
    ]
    return Classification(tokens=tuple(tokens))


def metadata() -> dict[str, Any]:
    """What the model was made from: version, commits of data and code, digest of the claims, training, metrics."""
    about: dict[str, Any] = json.loads(_read("linaje.json"))
    return about


def model_card() -> str:
    """The model card, in Markdown."""
    return _read("ficha.md")


def golden() -> tuple[Golden, ...]:
    """Texts and this model's answers to them: what an installation must answer if nothing was lost on the way."""
    return tuple(
        Golden(
            text=item["text"],
            answer=Classification(tokens=tuple(Token(token=name, score=score) for name, score in item["tokens"])),
        )
        for item in json.loads(_read("doradas.json"))
    )
