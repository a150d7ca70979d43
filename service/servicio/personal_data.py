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
_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"  # of a DNI
_ENDS = r"(?![^\W_])"  # no letter or digit follows
# What stands before it of a longer number goes with it: "60 0000000 a".
_LONGER = rf"(?<!\d)(?:\d{{1,3}}{_SEP}){{0,2}}\d{{1,2}}"
_UNITS = "rpm|pvc|kwh|lcd|mdf|hdf|cms|mts|hrs|pts"  # three letters after four digits that are no number plate's
_DATE = r"(?:\d{1,2}[/.-])?\d{1,2}[/.-](?:19|20)\d\d(?!\d)"
_PROVINCE = (
    "(?:A[BLV]?|B[AIU]?|C[ACEORSU]?|G[CEIRU]|HU?|IB|J|L[EOU]?|M[ALU]?|NA|O[RU]?|P[MO]?|S[AEGHOST]?|T[EFO]?|V[AI]?|ZA?)"
)

_UPPER = "".join(letter for letter in map(chr, range(0x250)) if letter.isupper())
# What ends a name: "me llamo juan pérez y tengo una fuga".
_OTHER_WORDS = (
    "y e o con de en el la los las un una mi mis se me le les soy vivo tengo tenemos hay por porque que desde necesito "
    "necesitamos quiero queremos quería quisiera querría llamo para pero ha han he no es está están estoy al del sin "
    "cuando como mi nuestro nuestra su gotea pierde sale tiene escribo pido fdo llamar dni nif nie "
    "tfno telf tel teléfono móvil"
)
_NOT_A_NAME = rf"(?!(?i:{_OTHER_WORDS.replace(' ', '|')})\b)"
# "Ramón y Cajal", not "Pérez y la lavadora"; "Ana de la Torre", "Ana La Torre", not "PÉREZ LA LAVADORA".
_PARTICLES = (
    r"(?:(?:(?i:de(?: la| las| los)?|del|da|dos|(?:y|i)(?! (?:el|la|los|las|una?)\b))|(?<!\. )(?:La|Las|Los)) ){0,2}"
)
_CAPITAL = rf"{_NOT_A_NAME}(?:[{_UPPER}]\w?\.|[{_UPPER}][\w'’-]{{0,40}})"
# A name is on one line: what comes on the next says what is broken.
_NAME = rf"{_CAPITAL}(?:(?: |(?<=\.)){_PARTICLES}{_CAPITAL}){{0,4}}"
# Without capitals an article ends it: "me llamo ana la bañera pierde".
_LOWER = rf"{_NOT_A_NAME}(?:[^\W\d_]\.|[^\W\d_]{{1,40}})"
_OF = rf"(?: (?i:del|de(?: (?:la|las|los))?) {_LOWER})"
_LOWER_NAME = rf"{_LOWER}{_OF}{{0,2}}(?: {_LOWER}){{0,2}}{_OF}?"
_INTRODUCTION = (
    r"\b(?i:(?:me llamo|mi nombre es|soy (?:don|doña|d\.|dña\.))(?:\s{0,2}[:,;.]\s{0,4}|\s{1,4})|fdo\.?\s{0,2}:\s{0,4})"
)
# Where a sentence begins: not "presupuesto firmado, persiana atascada", not "lean atentamente: grifo roto".
_SIGNATURE = (
    r"(?:(?<![^\n.,;!?])|(?<=[\n.,;!?] ))"
    r"(?i:(?:muy )?atentamente(?:\s{0,2}[:,;.]\s{0,4}|\s{1,4})|(?:firmado|fdo\.?)(?:\s{0,2}[:,;]\s{0,4}|\s{1,4}))"
)
# Not the letter of a door: "en el 3º D. Gotea el grifo".
_DOORS = r"[ºª\d] \do bajo bajos piso escalera esc esc[.] bloque portal ático letra puerta planta"
_GAPS = ("", " ", ",", ", ", "-", " - ", ": ")
_NO_DOOR = "".join(rf"(?<!{door}{gap})" for door in _DOORS.split() for gap in _GAPS)
_SOY = rf"soy (?=(?-i:[{_UPPER}][^\W\d_{_UPPER}]))"  # not "SOY INQUILINO"
_TITLE = rf"\b(?i:(?:(?=d){_NO_DOOR}d|dª|dña|sr|sra|srta)\. ?|(?:don|doña|señora?) |{_SOY})"

# What is longer goes first, so that no part of an IBAN is taken for a telephone. No pattern looks at a text more often
# than its own bounded length: a hostile text cannot make it run for long.
_RULES = (
    ("correo", re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")),
    (
        "iban",
        re.compile(
            rf"(?i:ES{_SEP}\d(?:{_SEP}\d){{21}}"
            # 15 characters or more; no "IP65 1000 2000", no "UE55TU8005KXXC"
            rf"|(?:\b|(?<=iban))(?!IP)[A-Z]{{2}}\d{{2}}"
            rf"(?:(?:{_SEP}[A-Z]{{4}}(?:{_GROUP}){{2,7}}|(?:{_GROUP}){{3,7}})(?:{_SEP}(?=[A-Z]?\d)[A-Z0-9]{{1,3}})?"
            rf"|(?:{_GROUP}){{2}}{_SEP}\d{{3}}){_ENDS})"
        ),
    ),
    (
        "dni",
        re.compile(
            # with blanks between its digits they may be measures: "60 120 200 a medida", "1200 800 X 300"
            rf"(?:{_LONGER}{_SEP}\d{{3}}{_SEP}\d{{3}}{_SEP}(?!X \d)[{_LETTERS}]"
            rf"|{_LONGER}[.()/-]{{0,3}}\d{{3}}[.()/-]{{0,3}}\d{{3}}{_SEP}(?!x \d)(?i:[{_LETTERS}])"
            rf"|(?:[XYZ]|(?<!\d)(?<!\d )[xyz]){_SEP}\d(?:{_SEP}\d){{6}}{_SEP}(?i:[{_LETTERS}])){_ENDS}"
        ),
    ),
    (
        "teléfono",
        re.compile(
            rf"(?<!\d)(?:\((?=[+\d]{{1,5}}\)))?"
            # no "10:00 12/05/2021", no "9/12/2021 10:30"
            rf"(?:(?:\+|(?<!:)(?<!\d\.)00){_SEP}\d(?:{_SEP}\d){{7,14}}|(?:34{_SEP})?(?!{_DATE})[6789](?:{_SEP}\d){{8}})"
            r"(?!\d)"
        ),
    ),
    (
        "matrícula",
        re.compile(
            rf"(?<!\d)\d{{4}}{_SEP}(?i:(?!{_UNITS})[BCDFGHJ-NPRSTV-Z]{{3}}){_ENDS}"
            rf"|\b{_PROVINCE}{_SEP}\d{{4}}{_SEP}[A-Z]{{1,2}}{_ENDS}"
            rf"|\b(?i:[A-Z]{{1,2}}-?\d{{4}}-?[A-Z]{{1,2}}){_ENDS}"
            # no "CR-2032", no "C 120000"
            rf"|\b{_PROVINCE}-\d{{5,6}}(?!\d)"
        ),
    ),
    ("nombre", re.compile(rf"(?P<before>{_INTRODUCTION})(?:{_NAME}|{_LOWER_NAME})")),
    ("nombre", re.compile(rf"(?P<before>{_SIGNATURE}){_NAME}")),
    ("nombre", re.compile(rf"(?P<before>{_TITLE}){_NAME}")),
    # whoever says how to reach them: "SOY ANA, [correo]"
    ("nombre", re.compile(rf"(?P<before>\b(?i:soy) ){_NAME}(?=[,.;:]? ?\[)")),
)


def without(text: str) -> str:
    """``text`` with `[correo]`, `[iban]`, `[dni]`, `[teléfono]`, `[matrícula]` and `[nombre]` for what was there.

    Dashes, blanks and accents are each written in one way.
    """
    # normalised first: marks that only something invisible keeps apart would be one pile, which takes long
    text = _BLANKS.sub(" ", unicodedata.normalize("NFC", text).translate(_DASHES | _INVISIBLE))
    for kind, pattern in _RULES:
        text = pattern.sub(rf"\g<before>[{kind}]" if "before" in pattern.groupindex else f"[{kind}]", text)
    return text
