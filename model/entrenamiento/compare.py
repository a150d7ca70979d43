"""Is a model worse than another beyond noise?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

# A model is worse when so small a chance remains that it is not.
SIGNIFICANCE = 0.05
_DRAWS = 2000
_SEED = 7


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two models on the same claims.

    ``won`` and ``lost`` count the claims that just the challenger, or just the champion, had right. ``p_value`` is the
    chance of so many lost, or more, if neither were better (exact one-sided McNemar test: Q. McNemar, Psychometrika 12,
    1947). ``low`` and ``high`` bound the difference of accuracy, challenger's less champion's, with 95 % confidence
    (paired bootstrap, percentiles).
    """

    challenger: float
    champion: float
    won: int
    lost: int
    p_value: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether the challenger is worse beyond noise."""
        return self.lost > self.won and self.p_value < SIGNIFICANCE


def compare(challenger: Sequence[bool], champion: Sequence[bool]) -> Comparison:
    """Compare which claims each had right; both n booleans, of the same claims in the same order.

    Raises `ValueError` when there are no claims or not as many for each.
    """
    if len(challenger) != len(champion) or not challenger:
        raise ValueError(f"{len(challenger)} and {len(champion)} answers cannot be compared")
    ours, theirs = np.array(challenger, dtype=bool), np.array(champion, dtype=bool)
    won, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    p_value = binomtest(lost, won + lost, 0.5, alternative="greater").pvalue if won + lost else 1.0
    difference = ours.astype(float) - theirs
    draws = np.random.default_rng(_SEED).integers(0, len(ours), size=(_DRAWS, len(ours)))
    low, high = np.percentile(difference[draws].mean(axis=1), [2.5, 97.5])
    return Comparison(
        challenger=float(ours.mean()),
        champion=float(theirs.mean()),
        won=won,
        lost=lost,
        p_value=float(p_value),
        low=float(low),
        high=float(high),
    )
