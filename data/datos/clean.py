"""One batch of extracted rows → the same rows normalised, without personal data, checked and signed.

Nothing of a row depends on another: any engine may cut the rows into batches as it likes, on any number of machines.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from datos.extract import ASIDE, REMOVED
from datos.labels import UnknownLabel, parse
from datos.signatures import COLUMNS, sign

LEAST_LETTERS = 3
MOST_CHARACTERS = 2000

# Columns of `clean`'s two tables.
CLEANED = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("fuente", pa.string(), nullable=False),
        pa.field("origen", pa.string(), nullable=False),
        pa.field("texto", pa.string(), nullable=False),
        pa.field("etiquetas", pa.string(), nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in COLUMNS),
    ]
)

# Rust's regular expressions: no look-around, linear time. Word boundaries (`_B`) are ASCII's: Unicode's would turn the
# fast automaton off for every text with an accent.
_B = r"(?-u:\b)"
_CAPITALISED = r"\p{Lu}[\p{Ll}\p{Lu}]+"
_STREET = rf"{_B}(?:calle|c/|avda\.?|avenida|plaza|pza\.?|paseo|camino|carretera|ctra\.?|ronda|travesía|urbanización)"
_WITH_SIGNS = (
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    rf"(?i){_B}ES[0-9]{{2}}(?:[ -]?[0-9]{{4}}){{1,4}}(?:[ -]?[0-9]{{1,10}}){{1,2}}{_B}",
    rf"{_B}(?:[0-9]{{4}}[ -]?){{3}}[0-9]{{4}}{_B}",
    rf"(?i){_B}(?:[0-9]{{8}}|[0-9]{{1,2}}\.[0-9]{{3}}\.[0-9]{{3}})[ -]?[a-z]{_B}",
    rf"(?i){_B}[xyz][ -]?[0-9]{{7}}[ -]?[a-z]{_B}",
    rf"(?:(?:\+34|{_B}0034)[ .-]?|{_B})[6789](?:[ .-]?[0-9]){{8}}{_B}",
    # a street with its number and floor, whatever the case; with the number alone if its name has a capital
    rf"(?i){_STREET}\s+(?:[\p{{L}}.]+\s+){{0,4}}[\p{{L}}.]+,?\s*(?:n[ºo°.]*\s*)?[0-9]{{1,4}}\s*,?\s*[0-9]{{1,2}}\s*[ºª°]"
    rf"(?:\s*[a-h]{_B})?",
    rf"(?i:{_STREET})\s+(?:(?i:de|del|la|las|los|el)\s+)*{_CAPITALISED}(?:\s+(?:(?i:de|del|la)\s+)*{_CAPITALISED})*"
    rf",?\s*(?:n[ºo°.]*\s*)?[0-9]{{1,4}}{_B}",
    rf"(?i){_B}[a-z]{{0,3}}-?[0-9]{{6,}}[a-z]?{_B}",
    r"[0-9]{6,}",
)
_INTRODUCED = (
    rf"((?i:{_B}(?:me llamo|mi nombre es|fdo\.?:?|firmado:?|d\.|dña\.|doña|don|sr\.|sra\.)))"
    rf"\s+{_CAPITALISED}(?:\s+(?:de(?:l|\s+la)?\s+)?{_CAPITALISED}){{0,3}}"
)
_SOY = rf"({_B}[Ss]oy)\s+{_CAPITALISED}(?:\s+{_CAPITALISED}){{0,3}}"
# What a text must hold for a look with the patterns to be worth it.
_SIGNS = "[0-9@]"
_INTRODUCTION = r"(?i)llamo|nombre es|fdo|firmado|d\.|dña|don|doña|sra?\.|soy"
# What must not be left when all is done: a row that still has it is rejected, and its text is not shown.
PERSONAL = r"\w@\w+\.\w|[0-9]{6}"


def clean(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows of `extract.CLAIMS` → (`CLEANED`, `extract.ASIDE`): every row is in one of the two tables, in order.

    ``texto`` is in NFC, with single spaces and no control characters, and has `REMOVED` where personal data stood.
    """
    frame = pl.DataFrame(pl.from_arrow(rows)).with_columns(_normalised(pl.col("texto")))
    frame = _impersonal(frame).with_columns(_canonical(pl.col("texto")).alias("canonica"))
    spellings = {raw: _labels(raw) for raw in frame["gremios"].unique().to_list()}
    frame = frame.with_columns(
        pl.col("gremios")
        .replace_strict(list(spellings), [found for found, _ in spellings.values()], return_dtype=pl.String)
        .alias("etiquetas"),
        pl.col("gremios")
        .replace_strict(list(spellings), [reason for _, reason in spellings.values()], return_dtype=pl.String)
        .alias("sin_etiqueta"),
        pl.col("texto").str.len_chars().alias("largo"),
    )
    frame = frame.with_columns(
        pl.when(pl.col("canonica").str.count_matches("[a-z]") < LEAST_LETTERS)
        .then(pl.lit("sin texto"))
        .when(pl.col("texto").str.contains(PERSONAL))
        .then(pl.lit("datos personales"))
        .when(pl.col("largo") > MOST_CHARACTERS)
        .then(pl.lit("texto demasiado largo"))
        .otherwise(pl.col("sin_etiqueta"))
        .alias("motivo")
    )
    bad = frame.filter(pl.col("motivo").is_not_null()).select(
        "fuente",
        "origen",
        "motivo",
        pl.when(pl.col("motivo") == "datos personales")
        .then(pl.lit(""))
        .otherwise(pl.concat_str(pl.col("gremios"), pl.lit(": "), pl.col("texto").str.head(80)))
        .alias("detalle"),
    )
    good = frame.filter(pl.col("motivo").is_null())
    signed = sign(good["canonica"].to_arrow())
    good = good.select("id", "fuente", "origen", "texto", "etiquetas").with_columns(
        pl.Series(name, values) for name, values in signed.items()
    )
    return good.to_arrow().cast(CLEANED), bad.to_arrow().cast(ASIDE)


def _labels(raw: str) -> tuple[str | None, str | None]:
    """The labels of ``raw``, or why there are none."""
    try:
        return parse(raw), None
    except UnknownLabel as error:
        return None, "etiqueta desconocida" if str(error) else "sin etiqueta"


def _normalised(text: pl.Expr) -> pl.Expr:
    return text.str.normalize("NFC").str.replace_all(r"[\s\p{Cc}\p{Cf}]+", " ").str.strip_chars()


def _canonical(text: pl.Expr) -> pl.Expr:
    """Lower-case words of [a-z0-9], without accents: what two spellings of one claim have in common."""
    bare = text.str.to_lowercase().str.normalize("NFKD").str.replace_all(r"\p{M}+", "")
    return bare.str.replace_all(r"[^a-z0-9]+", " ").str.strip_chars()


def _impersonal(frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` with the personal data of ``texto`` replaced; only rows that could hold some are looked at closely."""
    text = pl.col("texto")
    signs = text
    for pattern in _WITH_SIGNS:
        signs = signs.str.replace_all(pattern, REMOVED)
    names = text.str.replace_all(_INTRODUCED, "${1} " + REMOVED).str.replace_all(_SOY, "${1} " + REMOVED)
    for hint, cleaned in ((_SIGNS, signs), (_INTRODUCTION, names)):
        suspect = text.str.contains(hint)
        frame = pl.concat([frame.filter(~suspect), frame.filter(suspect).with_columns(cleaned)]).sort("id")
    return frame
