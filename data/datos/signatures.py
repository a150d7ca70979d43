"""Which texts may be near-duplicates of each other, as a few integers a text: MinHash, banded, and a one-bit sketch.

MinHash: A. Broder, "On the resemblance and containment of documents" (1997): the chance that two sets have the same
minimum under a random hash is their Jaccard similarity J. Bands: four minima hashed to one key; texts that share a key
are candidates. One-bit sketch: P. Li and C. König, "b-Bit Minwise Hashing" (2010): the lowest bits of 64 minima agree
with probability (1 + J) / 2.

The sets are the words of a text without the commonest ones. All is integer arithmetic on the words' bytes, so that any
engine on any machine gets the same numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

BANDS = 8
ROWS_A_BAND = 4
SKETCH = 64
COLUMNS = (*(f"banda{band}" for band in range(BANDS)), "boceto", "corte")

Unsigned = npt.NDArray[np.uint64]
Signed = npt.NDArray[np.int64]

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_RNG = np.random.Generator(np.random.PCG64(20240101))
_FACTORS: Unsigned = _RNG.integers(0, 2**63, size=SKETCH, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS: Unsigned = _RNG.integers(0, 2**63, size=SKETCH, dtype=np.uint64)
_COMMON = (
    "a al algo ante antes asi aunque bien buenas buenos cada como con cual cuando de del desde dia dias donde "
    "e el ella en entre era es esa ese eso esta estaba estan estar este esto estoy fue gracias ha hace han "
    "hasta hay he hemos hola la las le les lo los mas me mi mis muchas mucho muy nada ni no nos noches o os "
    "otra para pero poco por porque q que quien se ser si sin sobre solo son soy su sus tambien tan tardes te "
    "tengo tenemos tiene todo tras tu un una unas uno unos va vez x xq y ya yo saludo atentamente favor"
)


def sign(texts: pa.Array) -> dict[str, Signed]:
    """The columns `COLUMNS` for ``texts``, n strings of [a-z0-9] words with one space between; none may be empty.

    ``banda0`` … ``banda7``: keys, equal with probability J⁴ for similarity J. ``boceto``: 64 bits, see `alike`.
    ``corte``: 0–99, by the content alone, for a split that stays the same when other rows come and go.
    """
    if len(texts) == 0:
        return {name: np.empty(0, dtype=np.int64) for name in COLUMNS}
    words, starts = _words(texts)
    keep = ~_is_common(words)
    # a text of common words only keeps them all
    kept = np.add.reduceat(keep, starts, dtype=np.int64)
    lengths = np.diff(np.append(starts, len(words)))
    keep |= np.repeat(kept == 0, lengths)
    lengths = np.add.reduceat(keep, starts, dtype=np.int64)
    words = words[keep]
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    minima = [
        np.minimum.reduceat(words * factor + offset, starts) for factor, offset in zip(_FACTORS, _OFFSETS, strict=True)
    ]
    found: dict[str, Signed] = {}
    for band in range(BANDS):
        key = np.full(len(texts), band + 1, dtype=np.uint64)
        for value in minima[band * ROWS_A_BAND : (band + 1) * ROWS_A_BAND]:
            key = _mixed(key * _PRIME + value)
        found[f"banda{band}"] = key.view(np.int64)
    sketch = np.zeros(len(texts), dtype=np.uint64)
    for bit, value in enumerate(minima):
        sketch |= (value >> np.uint64(40) & np.uint64(1)) << np.uint64(bit)
    found["boceto"] = sketch.view(np.int64)
    total = _mixed(np.add.reduceat(_mixed(words), starts))
    found["corte"] = (total % np.uint64(100)).view(np.int64)
    return found


def alike(different_bits: int) -> float:
    """The similarity (0–1) that sketches with so many different bits of 64 speak of."""
    return max(0.0, 1 - 2 * different_bits / SKETCH)


def _words(texts: pa.Array) -> tuple[Unsigned, npt.NDArray[np.int64]]:
    """A hash of each word of all texts, and for each text the index of its first word."""
    texts = texts.cast(pa.large_string())
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    _, offsets_buffer, data = texts.buffers()
    offsets: npt.NDArray[np.int64] = np.frombuffer(offsets_buffer, dtype=np.int64)[
        texts.offset : texts.offset + len(texts) + 1
    ]
    letters = np.frombuffer(data, dtype=np.uint8)[offsets[0] : offsets[-1]]
    offsets = offsets - offsets[0]
    first = letters != ord(" ")
    inside = first.copy()
    first[1:] &= ~inside[:-1]
    first[offsets[:-1]] = True
    begins = np.flatnonzero(first)
    # each byte weighed by its place in its word: words are short, so the weights of 64 places are enough
    length = np.diff(np.append(begins, len(letters)))
    place = np.arange(len(letters), dtype=np.int64) - np.repeat(begins, length)
    weighed = np.where(inside, letters, 0).astype(np.uint64) * _PLACES[np.minimum(place, len(_PLACES) - 1)]
    hashes = _mixed(np.add.reduceat(weighed, begins))
    return hashes, np.searchsorted(begins, offsets[:-1])


def _mixed(values: Unsigned) -> Unsigned:
    """The finaliser of splitmix64 (S. Vigna): every bit of the input moves every bit of the result."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


_PLACES: Unsigned = _RNG.integers(0, 2**63, size=64, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def _is_common(words: Unsigned) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = _COMMON_TABLE[(words >> np.uint64(48)).astype(np.int64)]
    return found


def _table() -> Any:
    """For each 16-bit prefix of a word's hash, whether it is a common word's: a gather is faster than a search."""
    table = np.zeros(2**16, dtype=np.bool_)
    hashes, _ = _words(pa.array([_COMMON]))
    table[(hashes >> np.uint64(48)).astype(np.int64)] = True
    return table


_COMMON_TABLE = _table()
