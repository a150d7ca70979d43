"""From text to the units that the model knows; the training reads text with the same functions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise

MOST_CHARACTERS = 4000
SIZES = (3, 4, 5)
SHORTEST = 4  # letters of a word that is taken for a mistyped one
# Before a word as a unit, so that it is not taken for the piece of another.
WORD = "="
# Words that say nothing of the matter: pairs of words are taken across them.
_EMPTY = (
    "a al ante aqui asi bajo como con contra cual cuando de del desde donde e el ella en entre era es esa ese "
    "eso esta estaba estan estar este esto estoy fue ha han hasta hay he la las le les lo los me mi mis muy no "
    "nos o os otra para pero por porque q que se ser si sin sobre son soy su sus te tengo tenemos tiene toda "
    "todo tras tu un una unas uno unos vez x xq y ya yo"
)
EMPTY = frozenset(_EMPTY.split())
# Letters that the decomposition would join to the word before.
_SPACES = str.maketrans(dict.fromkeys("—–-’‘“”«»·•…▮/ºª", " "))
_WORD = re.compile("[a-z]+")


def words(text: str) -> list[str]:
    """The words of the first `MOST_CHARACTERS` of ``text``, in lower case, a–z only: no accents, digits or signs."""
    text = text[:MOST_CHARACTERS].lower()
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_SPACES)).encode("ascii", "ignore").decode("ascii")
    return _WORD.findall(text)


def pairs(found: list[str]) -> list[str]:
    """The neighbouring words of ``found``, each pair joined by a space, across the `EMPTY` ones."""
    full = [word for word in found if word not in EMPTY]
    return [f"{one} {two}" for one, two in pairwise(full)]


def pieces(word: str) -> list[str]:
    """The pieces of `SIZES` letters of ``word``, whose ends are marked by ``<`` and ``>``."""
    marked = f"<{word}>"
    return [marked[start : start + size] for size in SIZES for start in range(len(marked) - size + 1)]


class Spelling:
    """What a mistyped word was meant to be, among the words that are known."""

    def __init__(self, known: Iterable[str]) -> None:
        """``known``: the words, those that are likelier to be meant first."""
        self._known = {word: rank for rank, word in enumerate(known)}

    @cached_property
    def _gaps(self) -> dict[str, str]:
        """The likeliest word for each that has a ``?`` in the place of a letter."""
        found: dict[str, str] = {}
        for word in self._known:
            if len(word) >= SHORTEST:
                for place in range(1, len(word)):
                    found.setdefault(f"{word[:place]}?{word[place + 1 :]}", word)
        return found

    def read(self, word: str) -> str:
        """The known word that one typing error makes ``word`` of; ``word`` itself if it is known, or none is near.

        An error is a letter missing, too many, another, or two swapped; the first letter is right. Of several words
        it is the likeliest.
        """
        known = self._known
        if word in known or len(word) < SHORTEST:
            return word
        gap = self._gaps.get
        near = [gap(f"{word}?")]
        for place in range(1, len(word)):
            before, rest = word[:place], word[place:]
            after = rest[1:]
            near += gap(f"{before}?{after}"), gap(f"{before}?{rest}"), before + after
            near.append(f"{before}{after[:1]}{rest[0]}{after[1:]}")
        return min((other for other in near if other in known), key=known.__getitem__, default=word)
