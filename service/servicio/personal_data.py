"""Takes personal data out of a Spanish text, before it is kept for retraining.

Rather too much is taken than too little: it is the kept copy only. But no word that says what is broken.
"""

from __future__ import annotations

import re
import unicodedata

_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-")
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_BLANKS = re.compile(r"[^\S\r\n]+")

_SEP = r"[ .()/-]{0,3}"  # between the parts of a number
_GROUP = rf"{_SEP}(?=[A-Z]{{0,3}}\d)[A-Z0-9]{{4}}"  # of an IBAN
_DNI_LETTER = r"[TRWAGMYFPDXBNJZSQVHLCKE](?![^\W_])"
_PROVINCE = (
    "(?:A[BLV]?|B[AIU]?|C[ACEORSU]?|G[CEIRU]|HU?|IB|J|L[EOU]?|M[ALU]?|NA|O[RU]?|P[MO]?|S[AEGHOST]?|T[EFO]?|V[AI]?|ZA?)"
)

_UPPER = "".join(letter for letter in map(chr, range(0x250)) if letter.isupper())
# What ends a name: "me llamo juan pérez y tengo una fuga".
_OTHER_WORDS = (
    "y e o con de en el la los las un una mi mis se me le les soy vivo tengo tenemos hay por porque que desde necesito "
    "necesitamos quiero queremos quería quisiera querría llamo para pero ha han he no es está están estoy al del sin "
    "cuando como mi nuestro nuestra su gotea pierde sale tiene escribo pido"
)
_NOT_A_NAME = rf"(?!(?i:{_OTHER_WORDS.replace(' ', '|')})\b)"
_PARTICLES = r"(?:(?i:de|del|la|las|los|y|i|da|dos)\s+){0,3}"
_CAPITAL = rf"{_NOT_A_NAME}(?:[{_UPPER}]\w?\.|[{_UPPER}][\w'’-]{{0,40}})"
_NAME = rf"{_CAPITAL}(?:(?:\s+|(?<=\.)){_PARTICLES}{_CAPITAL}){{0,4}}"
# Without capitals an article ends it: "me llamo ana la bañera pierde".
_LOWER = rf"{_NOT_A_NAME}(?:[^\W\d_]\.|[^\W\d_]{{1,40}})"
_OF = rf"(?:\s+(?i:del|de(?:\s+(?:la|las|los))?)\s+{_LOWER})"
_LOWER_NAME = rf"{_LOWER}{_OF}{{0,2}}(?:\s+{_LOWER}){{0,2}}{_OF}?"
_INTRODUCTION = (
    r"\b(?i:me llamo|mi nombre es|soy (?:don|doña|d\.|dña\.)|atentamente|firmado)(?:\s{0,2}[:,;.]\s{0,4}|\s{1,4})"
)
# Not the letter of a door: "en el 3º D. Gotea el grifo".
_TITLE = (
    r"(?<![ºª\d])(?<![ºª\d] )(?<!(?i:letra) )(?<!(?i:puerta) )"
    r"\b(?i:(?:d|dª|dña|sr|sra|srta)\.\s?|(?:don|doña|señora?|soy)\s)"
)

# What is longer goes first, so that no part of an IBAN is taken for a telephone. No pattern looks at a text more often
# than its own bounded length: a hostile text cannot make it run for long.
_RULES = (
    ("correo", re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")),
    (
        "iban",
        re.compile(
            rf"(?i:ES{_SEP}\d(?:{_SEP}\d){{21}}"
            rf"|(?:\b|(?<=iban))[A-Z]{{2}}\d{{2}}(?:{_SEP}[A-Z]{{4}})?(?:{_GROUP}){{2,7}}(?:{_SEP}(?=[A-Z]?\d)[A-Z0-9]{{1,3}})?)"
        ),
    ),
    (
        "dni",
        re.compile(
            # with what stands before it of a longer number: "60 0000000 a"
            rf"(?i:(?:(?<!\d)(?:\d{{1,3}}{_SEP}){{0,2}}\d{{1,2}}{_SEP}\d{{3}}{_SEP}\d{{3}}|[XYZ]{_SEP}\d(?:{_SEP}\d){{6}})"
            rf"{_SEP}{_DNI_LETTER})"
        ),
    ),
    (
        "teléfono",
        re.compile(
            rf"(?<!\d)(?:\((?=[+\d]{{1,5}}\)))?(?:(?:\+|00){_SEP}\d(?:{_SEP}\d){{7,14}}|(?:34{_SEP})?[6789](?:{_SEP}\d){{8}})(?!\d)"
        ),
    ),
    (
        "matrícula",
        re.compile(
            rf"(?<!\d)\d{{4}}{_SEP}(?i:[BCDFGHJ-NPRSTV-Z]{{3}})(?![^\W_])"
            rf"|\b{_PROVINCE}{_SEP}\d{{4}}{_SEP}[A-Z]{{1,2}}(?![^\W_])"
            r"|\b(?i:[A-Z]{1,2}-?\d{4}-?[A-Z]{1,2})(?![^\W_])"
            rf"|\b{_PROVINCE}(?:-\d{{4,6}}|[ .]?\d{{6}})(?!\d)"
        ),
    ),
    ("nombre", re.compile(rf"(?P<before>{_INTRODUCTION})(?:{_NAME}|{_LOWER_NAME})")),
    ("nombre", re.compile(rf"(?P<before>{_TITLE}){_NAME}")),
)


def without(text: str) -> str:
    """``text`` with `[correo]`, `[iban]`, `[dni]`, `[teléfono]`, `[matrícula]` and `[nombre]` for what was there.

    Dashes, blanks and accents are each written in one way.
    """
    text = _BLANKS.sub(" ", unicodedata.normalize("NFC", text.translate(_DASHES | _INVISIBLE)))
    for kind, pattern in _RULES:
        text = pattern.sub(rf"\g<before>[{kind}]" if "before" in pattern.groupindex else f"[{kind}]", text)
    return text
