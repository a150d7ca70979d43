"""From curated claims to the model's data files.

Features are words, pairs of neighbouring words and pieces of words, weighed by their rarity (idf) and scaled to
length 1 over the text; a word that is not known is read as the commonest that is one typing error away. For each label
a linear support vector machine tells its claims from the others'; how strong the regularisation is, and whether it is
that or naive Bayes, is chosen by cross-validation over groups of near texts, on claims with words missing and mistyped:
claims to come are not phrased as those at hand. From those folds come also the calibration (J. Platt, "Probabilistic
outputs for support vector machines", 1999) and the least probability at which a second trade is named.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from clasificador_modelo._texto import WORD, Spelling, pairs, pieces, words
from joblib import Parallel, delayed
from scipy.sparse import csr_matrix, vstack
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import ComplementNB
from sklearn.svm import LinearSVC

from entrenamiento.claims import Claim, mistyped

SEED = 7
FOLDS = 3
# How near to the best weights is near enough: ten times nearer gives the same answers.
TOLERANCE = 0.01
LEAST_CLAIMS = 2  # in which a feature must occur to be known
# The scale of a lane of the table: weights up to this, so that 2¹⁵ of them fit in 31 bits with their sign.
LANE = 1 << 15
# How text is worn: the share of words mistyped, and of those missing.
TYPOS, MISSING = 0.2, 0.3
# Those held out miss fewer: with more, the cross-validation would choose for texts that nobody sends.
HELD_OUT_MISSING = 0.15
COPIES = 2
# What a claim says for a trade that is not its first but needed too.
SECOND = 0.4
# How much a claim that somebody labelled by hand counts for.
REVIEWED = 5.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way to fit the weights."""

    name: str
    strength: float

    def fit(self, matrix: csr_matrix, belongs: Floats, importance: Floats, *, jobs: int) -> tuple[Floats, Floats]:
        """Weights (features × labels) and intercepts for ``belongs``, what `membership` gives, by ``jobs`` processes.

        ``importance`` has how much each claim counts for.
        """
        if self.name == "complement naive Bayes":
            bayes = ComplementNB(alpha=self.strength).fit(matrix, belongs.argmax(axis=1), importance)
            log = bayes.feature_log_prob_
            return (log - log.mean(axis=0)).T, np.zeros(belongs.shape[1])
        machines = Parallel(n_jobs=jobs)(
            delayed(_machine)(self.strength, matrix, column > 0, importance * np.where(column > 0, column, 1.0))
            for column in belongs.T
        )
        weights, intercepts = zip(*machines, strict=True)
        return np.array(weights).T, np.array(intercepts)


def _machine(
    strength: float, matrix: csr_matrix, positive: npt.NDArray[np.bool_], importance: Floats
) -> tuple[Floats, float]:
    # The dual problem: the same weights in a third of the time. Its solver's random numbers are one sequence for all
    # threads of a process, so machines are never fitted in threads: their bytes would differ from run to run.
    machine = LinearSVC(C=strength, dual=True, tol=TOLERANCE, random_state=SEED)
    machine.fit(matrix, positive, sample_weight=importance)
    return machine.coef_[0], float(machine.intercept_[0])


CANDIDATES = (
    Candidate(name="complement naive Bayes", strength=0.3),
    Candidate(name="support vector machine", strength=0.1),
    Candidate(name="support vector machine", strength=0.3),
    Candidate(name="support vector machine", strength=1.0),
)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the cross-validation decided; the sigmoid of ``slope`` × decision value + ``offset`` is the probability."""

    candidate: Candidate
    scores: dict[str, float]
    slope: float
    offset: float
    least: float


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model: features with their idf, weights (features × labels) and intercepts, and the choice it follows."""

    labels: tuple[str, ...]
    features: tuple[str, ...]
    idf: Floats
    weights: Floats
    intercepts: Floats
    choice: Choice


def counts(texts: Sequence[str], rows: dict[str, int]) -> csr_matrix:
    """How often each feature occurs, texts × features; a feature that ``rows`` does not have is left out.

    A word that ``rows`` does not have is read as the one that it was mistyped from, if there is such a word.
    """
    spelling = Spelling(name[len(WORD) :] for name in rows if name.startswith(WORD))
    spelt: dict[str, str] = {}
    known: dict[str, array[int]] = {}
    indices = array("i")
    starts = [0]
    for text in texts:
        found = [spelt.get(word) or spelt.setdefault(word, spelling.read(word)) for word in words(text)]
        for word in found:
            if word not in known:
                parts = (WORD + word, *pieces(word))
                known[word] = array("i", [rows[name] for name in parts if name in rows])
            indices.extend(known[word])
        indices.extend([rows[name] for name in pairs(found) if name in rows])
        starts.append(len(indices))
    columns = np.array(indices, dtype=np.int32)
    matrix = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(texts), len(rows)))
    matrix.sum_duplicates()
    return matrix


def weighed(matrix: csr_matrix, idf: Floats) -> csr_matrix:
    """Counts × idf, each row divided by the root of its sum of count × idf²: a length that is a sum over the words."""
    lengths = np.sqrt(matrix @ (idf**2))
    lengths[lengths == 0] = 1
    scaled = matrix.multiply(idf).multiply(1 / lengths[:, None])
    return csr_matrix(scaled)


def rarity(matrix: csr_matrix) -> Floats:
    """The idf of each feature over the rows of ``matrix``, smoothed; 0 for one in fewer than `LEAST_CLAIMS` rows."""
    occurs = np.asarray((matrix > 0).sum(axis=0)).ravel()
    idf = np.log((1 + matrix.shape[0]) / (1 + occurs)) + 1
    return np.where(occurs >= LEAST_CLAIMS, idf, 0.0)


def membership(claims: Sequence[Claim], labels: Sequence[str]) -> Floats:
    """Claims × labels: 1 for the first trade, `SECOND` for another of the claim's, 0 for the rest."""
    columns = {label: column for column, label in enumerate(labels)}
    found = np.zeros((len(claims), len(labels)))
    for row, claim in enumerate(claims):
        for label in claim.labels[1:]:
            found[row, columns[label]] = SECOND
        found[row, columns[claim.labels[0]]] = 1
    return found


def choose(claims: Sequence[Claim]) -> Choice:
    """Choose among `CANDIDATES` by the claims held out, and calibrate on them. The same claims, the same numbers.

    A claim that somebody labelled by hand counts for as much in the choice as in the training.
    """
    labels = _labels(claims)
    belongs = membership(claims, labels)
    texts = [claim.text for claim in claims]
    rows = _known(texts)
    rng = random.Random(SEED)  # noqa: S311
    worn_texts, hard_texts = _worn(rng, texts, MISSING), _worn(rng, texts, HELD_OUT_MISSING)
    plain, worn, hard = (counts(some, rows) for some in (texts, worn_texts, hard_texts))
    importance = _importance(claims)
    folds = list(GroupKFold(FOLDS).split(plain, groups=[claim.group for claim in claims]))
    tried = Parallel(n_jobs=-1)(
        delayed(_held_out)(candidate, plain, worn, hard, belongs, importance, *fold)
        for candidate in CANDIDATES
        for fold in folds
    )
    scores: dict[str, float] = {}
    results: list[tuple[float, Floats]] = []
    for number, candidate in enumerate(CANDIDATES):
        values = np.zeros_like(belongs)
        for (_, held), found in zip(folds, tried[number * FOLDS : (number + 1) * FOLDS], strict=True):
            values[held] = found
        score = float(np.average(values.argmax(axis=1) == belongs.argmax(axis=1), weights=importance))
        scores[f"{candidate.name} {candidate.strength:g}"] = round(score, 4)
        results.append((score, values))
    best = max(range(len(CANDIDATES)), key=lambda number: results[number][0])
    values = results[best][1]
    # one sigmoid for all labels keeps their order: the likeliest is the one with the highest decision value
    sigmoid = LogisticRegression(C=1e6).fit(values.reshape(-1, 1), belongs.ravel() > 0)
    slope, offset = float(sigmoid.coef_[0, 0]), float(sigmoid.intercept_[0])
    least = _threshold(1 / (1 + np.exp(-(values * slope + offset))), belongs)
    return Choice(candidate=CANDIDATES[best], scores=scores, slope=slope, offset=offset, least=least)


def fit(claims: Sequence[Claim], choice: Choice) -> Trained:
    """The model of ``claims``, each also worn `COPIES` times. The same claims give the same numbers."""
    labels = _labels(claims)
    texts = [claim.text for claim in claims]
    rows = _known(texts)
    rng = random.Random(SEED)  # noqa: S311
    plain = counts(texts, rows)
    idf = rarity(plain)
    every = vstack([plain, *(counts(_worn(rng, texts, MISSING), rows) for _ in range(COPIES))])
    belongs = np.vstack([membership(claims, labels)] * (1 + COPIES))
    importance = np.tile(_importance(claims), 1 + COPIES)
    weights, intercepts = choice.candidate.fit(weighed(csr_matrix(every), idf), belongs, importance, jobs=-1)
    return Trained(
        labels=labels,
        features=tuple(rows),
        idf=idf,
        weights=weights,
        intercepts=intercepts,
        choice=choice,
    )


def _importance(claims: Sequence[Claim]) -> Floats:
    return np.array([REVIEWED if claim.reviewed else 1.0 for claim in claims])


def _labels(claims: Sequence[Claim]) -> tuple[str, ...]:
    return tuple(sorted({label for claim in claims for label in claim.labels}))


def _known(texts: Sequence[str]) -> dict[str, int]:
    """The features that occur in `LEAST_CLAIMS` texts or more, and their columns."""
    found = [words(text) for text in texts]
    names = {pair for some in found for pair in pairs(some)}
    for word in {word for some in found for word in some}:
        names.update((WORD + word, *pieces(word)))
    every = {name: column for column, name in enumerate(sorted(names))}
    occurs = np.bincount(counts(texts, every).indices, minlength=len(every))
    often = [(-int(occurs[column]), name) for name, column in every.items() if occurs[column] >= LEAST_CLAIMS]
    # words first, and the commonest of them first: a mistyped word is read as the commonest that is near
    often.sort(key=lambda item: (not item[1].startswith(WORD), item))
    return {name: column for column, (_, name) in enumerate(often)}


def _worn(rng: random.Random, texts: Sequence[str], missing: float) -> list[str]:
    return [mistyped(rng, text, typos=TYPOS, missing=missing) for text in texts]


def _held_out(
    candidate: Candidate,
    plain: csr_matrix,
    worn: csr_matrix,
    hard: csr_matrix,
    belongs: Floats,
    importance: Floats,
    kept: npt.NDArray[np.int64],
    held: npt.NDArray[np.int64],
) -> Floats:
    """Decision values (claims × labels) for the claims held out, words missing and mistyped."""
    idf = rarity(plain[kept])
    both = csr_matrix(vstack([plain[kept], worn[kept]]))
    weights, intercepts = candidate.fit(
        weighed(both, idf), np.vstack([belongs[kept], belongs[kept]]), np.tile(importance[kept], 2), jobs=1
    )
    values: Floats = weighed(hard[held], idf) @ weights + intercepts
    return values


def _threshold(probabilities: Floats, belongs: Floats) -> float:
    """The probability, in hundredths, from which naming a trade beside the likeliest gives the best F1 of all named."""
    needed = belongs > 0
    first = probabilities.argmax(axis=1)
    best = (0.0, 0.5)
    for least in np.arange(0.15, 0.65, 0.01):
        named = probabilities >= least
        named[np.arange(len(named)), first] = True
        right = float((named & needed).sum())
        best = max(best, (2 * right / float(named.sum() + needed.sum()), float(least)))
    return round(best[1], 2)


def files(model: Trained) -> tuple[dict[str, Any], bytes]:
    """What ``modelo.json`` holds, and the bytes of ``modelo.tabla``: a row of signed 32-bit lanes for each unit.

    A unit is a word with all its pieces, a pair of words, or a piece (for words that are not known). A row's lanes are
    idf × weight for each label, and idf² last.
    """
    weights = model.weights * model.idf[:, None]
    norms = model.idf**2
    rows = {name: row for row, name in enumerate(model.features) if model.idf[row] > 0}
    units: dict[str, tuple[Floats, float]] = {}
    for name, row in rows.items():
        if name.startswith(WORD):
            parts = [row, *(rows[piece] for piece in pieces(name[len(WORD) :]) if piece in rows)]
            units[name] = (weights[parts].sum(axis=0), float(norms[parts].sum()))
        else:
            units[name] = (weights[row], float(norms[row]))
    weight_unit = max(float(np.abs(values).max()) for values, _ in units.values()) / LANE
    norm_unit = max(norm for _, norm in units.values()) / LANE
    table = bytearray()
    bits = 32
    for values, norm in units.values():
        lanes = [*np.rint(values / weight_unit).astype(int).tolist(), max(1, round(norm / norm_unit))]
        packed = sum(lane << (bits * index) for index, lane in enumerate(lanes))
        table += packed.to_bytes(len(lanes) * bits // 8, "little", signed=True)
    about = {
        "labels": list(model.labels),
        "intercepts": _rounded(model.intercepts),
        "slope": _rounded([model.choice.slope])[0],
        "offset": _rounded([model.choice.offset])[0],
        "weight_unit": _rounded([weight_unit])[0],
        "norm_unit": _rounded([norm_unit])[0],
        "least": model.choice.least,
        "units": "\n".join(units),
    }
    return about, bytes(table)


def _rounded(values: Any) -> list[float]:
    """Six significant digits: enough for the answers, and the same on any machine."""
    return [float(f"{value:.6g}") for value in values]
