"""The ten trades, and how the sources spell them."""

from __future__ import annotations

import re
import unicodedata

LABELS = (
    "fontanería",
    "electricidad",
    "carpintería",
    "cerrajería",
    "cristalería",
    "albañilería",
    "pintura",
    "climatización",
    "electrodomésticos",
    "persianas",
)
# Between the trades of one claim; the first trade is the one that mends what is claimed.
SEPARATOR = "|"


class UnknownLabel(ValueError):
    """A source names a trade that is none of the ten."""


def plain(text: str) -> str:
    """``text`` in lower case and without accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


# What the sources write, beside the label itself: the tradesman, an abbreviation, an older name.
_SPELLINGS = {
    "fontanero": "fontanería",
    "font": "fontanería",
    "agua": "fontanería",
    "electricista": "electricidad",
    "elec": "electricidad",
    "carpintero": "carpintería",
    "carp": "carpintería",
    "cerrajero": "cerrajería",
    "cerr": "cerrajería",
    "cristalero": "cristalería",
    "cristales": "cristalería",
    "albanil": "albañilería",
    "alba": "albañilería",
    "pintor": "pintura",
    "pint": "pintura",
    "calefaccion": "climatización",
    "clima": "climatización",
    "electrodomestico": "electrodomésticos",
    "electrod": "electrodomésticos",
    "persianista": "persianas",
    "persiana": "persianas",
}
SPELLINGS = {**{plain(label): label for label in LABELS}, **_SPELLINGS}


def parse(raw: str | None) -> str:
    """The labels that ``raw`` names, joined by `SEPARATOR`, without repetition and in its order.

    Raises `UnknownLabel` for an empty value or a trade that is none of the ten.
    """
    found: dict[str, None] = {}
    for part in re.split(r"[|,;/+]| y ", raw or ""):
        name = plain(part).strip(" .")
        if not name:
            continue
        if name not in SPELLINGS:
            raise UnknownLabel(part.strip())
        found[SPELLINGS[name]] = None
    if not found:
        raise UnknownLabel("")
    return SEPARATOR.join(found)
