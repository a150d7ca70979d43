"""Read what the sources sent into one table; what cannot be read is set aside with a reason, and counted.

A source folder holds any number of

- ``*.csv`` in Latin-1 with semicolons and the columns of `EXPORT` (the claims system's export);
- ``*.csv`` in UTF-8 with commas and the columns of `REVIEWED` (claims that somebody labelled by hand);
- ``*.jsonl`` in UTF-8, a form of the web site a line;
- ``notas/*.txt`` in UTF-8, entries that begin with ``===``.

The fields that tell who claims end here: with them the claimant's own name, telephone and address are taken out of the
text, and they are not written anywhere.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datos.labels import plain

EXPORT = ["num_siniestro", "fecha", "asegurado", "telefono", "descripcion", "gremio"]
REVIEWED = ["texto", "etiqueta"]
BATCH = 50_000
# Stands where personal data stood: no letter, so no model learns from it, and whoever reads sees that something went.
REMOVED = "▮"

CLAIMS = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("fuente", pa.string(), nullable=False),
        pa.field("origen", pa.string(), nullable=False),
        pa.field("texto", pa.string(), nullable=False),
        pa.field("gremios", pa.string(), nullable=False),
    ]
)
ASIDE = pa.schema(
    [
        pa.field("fuente", pa.string(), nullable=False),
        pa.field("origen", pa.string(), nullable=False),
        pa.field("motivo", pa.string(), nullable=False),
        pa.field("detalle", pa.string(), nullable=False),
    ]
)


class Unreadable(ValueError):
    """A row, or a whole file, that is set aside; ``reason`` is what it is counted under."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True)
class Row:
    """A readable row, its claimant's own data already out of the text."""

    text: str
    labels: str


@dataclass(kw_only=True)
class Extracted:
    """How many rows each source gave, and how many rows or files were set aside for each reason."""

    read: dict[str, int] = field(default_factory=dict)
    aside: dict[str, int] = field(default_factory=dict)


Numbered = Iterator[tuple[int, Row | Unreadable]]


def extract(sources: Path, out: Path) -> Extracted:
    """Write ``out``/extraidas.parquet (`CLAIMS`) and ``out``/apartadas.parquet (`ASIDE`); memory is that of one batch.

    Raises `FileNotFoundError` when ``sources`` has no file of any kind: an empty folder is a mistake, not data.
    """
    files = list(_files(sources))
    if not files:
        raise FileNotFoundError(f"{sources} holds no source: no *.csv, *.jsonl or notas/*.txt")
    out.mkdir(parents=True, exist_ok=True)
    told = Extracted()
    number = 0
    with _Writer(out / "extraidas.parquet", CLAIMS) as good, _Writer(out / "apartadas.parquet", ASIDE) as bad:
        for source, file, read in files:
            told.read.setdefault(source, 0)
            for line, row in _rows(file, read):
                origin = f"{file.relative_to(sources)}:{line}"
                if isinstance(row, Unreadable):
                    told.aside[row.reason] = told.aside.get(row.reason, 0) + 1
                    bad.add(fuente=source, origen=origin, motivo=row.reason, detalle=row.detail)
                else:
                    told.read[source] += 1
                    good.add(id=number, fuente=source, origen=origin, texto=row.text, gremios=row.labels)
                    number += 1
    return told


def _files(sources: Path) -> Iterator[tuple[str, Path, Callable[[Path], Numbered]]]:
    for file in sorted(sources.glob("*.csv")):
        with file.open("rb") as raw:
            reviewed = raw.readline().strip() == ",".join(REVIEWED).encode()
        yield ("revisadas", file, _reviewed) if reviewed else ("siniestros", file, _export)
    for file in sorted(sources.glob("*.jsonl")):
        yield "formulario", file, _form
    for file in sorted(sources.glob("notas/*.txt")):
        yield "notas", file, _notes


def _rows(file: Path, read: Callable[[Path], Numbered]) -> Numbered:
    """What ``read`` yields; a file that cannot be read as a whole, or holds nothing, is one row set aside."""
    empty = True
    try:
        for line, row in read(file):
            empty = False
            yield line, row
        if empty:
            raise Unreadable("fichero vacío")
    except Unreadable as error:
        yield 0, error


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable("codificación", f"byte {error.start} is not {encoding}") from error
    # Latin-1 reads any byte: what gives away another encoding are control characters and UTF-8 read as two letters
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|Ã[\x80-\xbf]", text):
        raise Unreadable("codificación", f"not text in {encoding}")
    return text


def _lines(file: Path, encoding: str) -> Iterator[tuple[int, str | Unreadable]]:
    with file.open("rb") as raw:
        for number, line in enumerate(raw, start=1):
            try:
                yield number, _decoded(line.rstrip(b"\r\n"), encoding)
            except Unreadable as error:
                yield number, error


def _table(
    file: Path, encoding: str, columns: list[str], delimiter: str
) -> Iterator[tuple[int, list[str] | Unreadable]]:
    lines = _lines(file, encoding)
    for number, line in lines:
        if isinstance(line, Unreadable):
            found: list[str] | Unreadable = line
        elif number == 1:
            header = line.removeprefix("\ufeff").split(delimiter)
            if header != columns:
                raise Unreadable("cambio de esquema", f"columns {header}, expected {columns}")
            continue
        else:
            try:
                found = next(csv.reader([line], delimiter=delimiter, strict=True), [])
            except csv.Error as error:
                found = Unreadable("fila truncada", str(error))
            else:
                if len(found) != len(columns):
                    found = Unreadable("fila truncada", f"{len(found)} fields, expected {len(columns)}")
        yield number, found


def _export(file: Path) -> Numbered:
    for number, row in _table(file, "latin-1", EXPORT, ";"):
        if isinstance(row, Unreadable):
            yield number, row
        else:
            _, _, name, telephone, text, labels = row
            yield number, Row(text=without(text, name, telephone), labels=labels)


def _reviewed(file: Path) -> Numbered:
    for number, row in _table(file, "utf-8", REVIEWED, ","):
        yield number, row if isinstance(row, Unreadable) else Row(text=row[0], labels=row[1])


def _form(file: Path) -> Numbered:
    for number, line in _lines(file, "utf-8"):
        try:
            if isinstance(line, Unreadable):
                raise line
            yield number, _form_row(json.loads(line))
        except json.JSONDecodeError as error:
            yield number, Unreadable("fila truncada", error.msg)
        except Unreadable as error:
            yield number, error


def _form_row(row: Any) -> Row:
    try:
        text, labels, who = row["mensaje"], row["gremios"], row["contacto"]
        own = (who["nombre"], who["telefono"], who["correo"])
        if not all(isinstance(value, str) for value in (text, *own, *labels)):
            raise TypeError("not text")
    except (KeyError, TypeError) as error:
        raise Unreadable("cambio de esquema", f"{type(error).__name__}: {error}") from error
    return Row(text=without(text, *own), labels="|".join(labels))


def _notes(file: Path) -> Numbered:
    heading: tuple[int, str] | None = None
    body: list[str] = []
    for number, line in _lines(file, "utf-8"):
        if isinstance(line, Unreadable):
            yield number, line
        elif line.startswith("==="):
            if heading:
                yield heading[0], _note(heading[1], body)
            heading, body = (number, line), []
        elif heading is None:
            raise Unreadable("cambio de esquema", "text before the first heading")
        else:
            body.append(line)
    if heading:
        yield heading[0], _note(heading[1], body)


def _note(heading: str, body: list[str]) -> Row | Unreadable:
    fields = heading.split(" · ")
    if len(fields) != 4 or not body or not body[0].startswith("Gremio:"):
        return Unreadable("fila truncada", "heading or trade missing")
    text = " ".join(body[1:]).strip()
    return Row(text=without(text, fields[2], fields[3]), labels=body[0].removeprefix("Gremio:").strip())


def without(text: str, *own: str) -> str:
    """``text`` with each of ``own`` (a name, a telephone, an address) replaced by `REMOVED`, accents and case aside.

    Of a name of several words any two that follow each other go, and so does the first name after `soy` and the like.
    """
    bare = plain(text)
    for value in own:
        words = value.split()
        digits = value.lstrip("+")[-3:]
        # most texts name nobody: a look at the words spares them the patterns
        if not any(plain(word) in bare for word in words) and not (digits.isdigit() and digits[-1] in bare):
            continue
        if value.replace("+", "").replace(" ", "").isdigit():
            text = re.sub(r"[ .\-]?".join(value.replace(" ", "").lstrip("+")), REMOVED, text)
            continue
        patterns = [r"\s+".join(map(_loose, words))]
        patterns += [rf"{_loose(one)}\s+{_loose(two)}" for one, two in pairwise(words)]
        if len(words) > 1:
            patterns.append(rf"(?<=soy\s){_loose(words[0])}\b")
        for pattern in patterns:
            text = re.sub(pattern, REMOVED, text, flags=re.IGNORECASE)
    return text


def _loose(word: str) -> str:
    """A pattern for ``word`` that takes each letter with or without its accent."""
    return "".join(_letter(letter) for letter in unicodedata.normalize("NFC", word))


def _letter(letter: str) -> str:
    bare = unicodedata.normalize("NFD", letter)[0]
    return re.escape(letter) if bare == letter else f"[{letter}{bare}]"


class _Writer:
    """Rows into a Parquet file, a batch at a time."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(file, schema)
        self._columns: dict[str, list[Any]] = {name: [] for name in schema.names}

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, **row: Any) -> None:
        """A row, by the names of the schema."""
        for name, values in self._columns.items():
            values.append(row[name])
        if len(values) >= BATCH:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.table(self._columns, schema=self._schema))
        self._columns = {name: [] for name in self._schema.names}
