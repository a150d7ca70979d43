"""Takes personal data out of a Spanish text, before it is kept for retraining."""

from __future__ import annotations

import re

_CAPITAL = r"[A-ZÁÉÍÓÚÜÑ][\w'’-]{0,40}"
_PARTICLE = r"(?:(?:de|del|la|las|los|y|i|da|dos)\s+){0,3}"
# What ends a name that is written without capitals: "me llamo juan pérez y tengo una fuga".
_OTHER_WORDS = (
    "y e o con de en el la los las un una mi mis se me le les soy vivo tengo tenemos hay por porque que desde necesito "
    "quiero quería llamo para ha he no es"
)
_NOT_A_NAME = rf"(?!(?:{_OTHER_WORDS.replace(' ', '|')})\b)"
_INTRODUCTION = r"(?P<before>\b(?i:me llamo|mi nombre es|soy (?:don|doña|d\.|dña\.)|atentamente,?|firmado:?)\s+)"

# What is longer goes first, so that no part of an IBAN is taken for a telephone. No pattern looks at a text more often
# than its own bounded length: a hostile text cannot make it run for long.
_RULES = (
    ("correo", re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")),
    ("iban", re.compile(r"\b(?:(?i:ES)\d{2}(?:[ -]?\d){20}|[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30})\b")),
    ("dni", re.compile(r"\b(?:\d{1,2}\.?\d{3}\.?\d{3}|[XYZxyz][ -]?\d{7})[ -]?[A-Za-z]\b")),
    ("teléfono", re.compile(r"(?<![\w.])(?:(?:\+|00)\d{2}[ .-]?)?[6789](?:[ .-]?\d){8}(?!\d)")),
    ("matrícula", re.compile(r"\b(?i:\d{4}[ -]?[BCDFGHJ-NPRSTV-Z]{3}|[A-Z]{1,2}-\d{4}-[A-Z]{1,2})\b")),
    (
        "nombre",
        re.compile(
            rf"{_INTRODUCTION}(?:{_CAPITAL}(?:\s+{_PARTICLE}{_CAPITAL}){{0,4}}"
            rf"|{_NOT_A_NAME}[^\W\d_]{{1,40}}(?:\s+{_NOT_A_NAME}[^\W\d_]{{1,40}}){{0,2}})"
        ),
    ),
)


def without(text: str) -> str:
    """``text`` with `[correo]`, `[iban]`, `[dni]`, `[teléfono]`, `[matrícula]` and `[nombre]` for what was there."""
    for kind, pattern in _RULES:
        text = pattern.sub(rf"\g<before>[{kind}]" if "before" in pattern.groupindex else f"[{kind}]", text)
    return text
