"""Which trade repairs what a home-insurance claim tells of.

A linear model over the pieces of words, trained by `entrenar.py` and kept as plain JSON: loading it runs no code.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

MAX_SCORE = 5
# A trade that is less likely than this is not named, unless it is the likeliest.
LEAST = 0.1


@dataclass(frozen=True, kw_only=True)
class Token:
    """A trade and how sure the model is of it: an integer from 1 to 5, fifths of the probability."""

    token: str
    score: int


@dataclass(frozen=True, kw_only=True)
class Classification:
    """The trades that a text calls for, best first; at least one."""

    tokens: tuple[Token, ...]


def features(text: str) -> Counter[str]:
    """Words and pieces of 3 to 5 letters of ``text``, in lower case and without accents, and how often each occurs."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    found: Counter[str] = Counter()
    for word in re.findall(r"\w+", plain):
        found[word] += 1
        padded = f"<{word}>"
        for size in (3, 4, 5):
            for start in range(len(padded) - size + 1):
                found[padded[start : start + size]] += 1
    return found


@cache
def _model() -> dict[str, Any]:
    model: dict[str, Any] = json.loads((files(__name__) / "modelo.json").read_text(encoding="utf-8"))
    return model


def metadata() -> dict[str, Any]:
    """What the model was made from: version, digest of the data, seed and metrics."""
    about: dict[str, Any] = _model()["metadata"]
    return about


def probabilities(text: str) -> dict[str, float]:
    """The probability of each trade; they add up to 1."""
    model = _model()
    weights: dict[str, list[float]] = model["weights"]
    idf: dict[str, float] = model["idf"]
    values = {name: count * idf[name] for name, count in features(text).items() if name in idf}
    norm = math.sqrt(sum(value * value for value in values.values())) or 1.0
    sums = list(model["intercepts"])
    for name, value in values.items():
        share = value / norm
        for index, weight in enumerate(weights[name]):
            sums[index] += share * weight
    top = max(sums)
    powers = [math.exp(value - top) for value in sums]
    total = sum(powers)
    return {label: power / total for label, power in zip(model["labels"], powers, strict=True)}


def classify(text: str) -> Classification:
    """The trades that ``text`` calls for."""
    ranked = sorted(probabilities(text).items(), key=lambda item: (-item[1], item[0]))
    kept = [item for position, item in enumerate(ranked) if position == 0 or item[1] >= LEAST]
    tokens = (Token(token=label, score=max(1, round(MAX_SCORE * p))) for label, p in kept)
    return Classification(tokens=tuple(tokens))
