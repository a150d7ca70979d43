from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import DATA, HEADER, form_row
from datos.extract import REMOVED, extract, without


def rows(out: Path, name: str = "extraidas") -> list[dict[str, str]]:
    found: list[dict[str, str]] = pq.read_table(out / f"{name}.parquet").to_pylist()
    return found


def reasons(out: Path) -> list[tuple[str, str]]:
    return [(row["origen"], row["motivo"]) for row in rows(out, "apartadas")]


def test_an_export_in_latin_1_keeps_its_accents_and_quoted_semicolons(tmp_path: Path) -> None:
    lines = [HEADER, '1;01/02/2026;Ana Puig;600;"la cañería; gotea";Fontanería', ""]
    (tmp_path / "a.csv").write_bytes("\r\n".join(lines).encode("latin-1"))
    extract(tmp_path, tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert (row["texto"], row["gremios"], row["origen"]) == ("la cañería; gotea", "Fontanería", "a.csv:2")


def test_an_export_in_utf_8_is_set_aside_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        f"{HEADER}\n1;f;Ana;600;la cañería;fontanería\n2;f;Ana;600;grifo;agua\n", encoding="utf-8"
    )
    told = extract(tmp_path, tmp_path / "out")
    assert reasons(tmp_path / "out") == [("a.csv:2", "codificación")]
    assert told.read == {"siniestros": 1}
    assert told.aside == {"codificación": 1}


def test_a_row_cut_short_is_set_aside_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "\n".join([form_row("grifo", "pintura"), form_row("bañera", "pintura")[:40], form_row("váter", "pintura")])
    )
    extract(tmp_path, tmp_path / "out")
    assert [row["texto"] for row in rows(tmp_path / "out")] == ["grifo", "váter"]
    assert reasons(tmp_path / "out") == [("a.jsonl:2", "fila truncada")]


def test_a_truncated_export_and_a_lost_field_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'{HEADER}\n1;f;Ana;600;texto\n2;f;Ana;600;"sin cerrar', encoding="latin-1")
    extract(tmp_path, tmp_path / "out")
    assert reasons(tmp_path / "out") == [("a.csv:2", "fila truncada"), ("a.csv:3", "fila truncada")]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "num;fecha;texto\n1;2;3\n", "cambio de esquema"),
        ("a.csv", "", "fichero vacío"),
        ("a.jsonl", "", "fichero vacío"),
        ("notas/a.txt", "texto sin cabecera\n", "cambio de esquema"),
    ],
)
def test_a_file_that_is_not_what_it_was_is_set_aside_whole(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / "notas").mkdir()
    (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "good.jsonl").write_text(form_row("grifo roto", "fontanería"))
    told = extract(tmp_path, tmp_path / "out")
    assert told.aside == {reason: 1}
    assert len(rows(tmp_path / "out")) == 1


@pytest.mark.parametrize("line", ['{"mensaje": "x"}', "[]", '"texto"', '{"mensaje": 1, "gremios": [], "contacto": {}}'])
def test_a_form_of_another_shape_is_a_change_of_schema(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line)
    extract(tmp_path, tmp_path / "out")
    assert reasons(tmp_path / "out") == [("a.jsonl:1", "cambio de esquema")]


def test_a_form_in_latin_1_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(form_row("la cañería", "fontanería").encode("latin-1"))
    extract(tmp_path, tmp_path / "out")
    assert reasons(tmp_path / "out") == [("a.jsonl:1", "codificación")]


def test_a_folder_without_sources_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no source"):
        extract(tmp_path, tmp_path / "out")


def test_a_note_of_several_lines_is_one_claim(tmp_path: Path) -> None:
    (tmp_path / "notas").mkdir()
    note = (
        "=== Parte 1 · 01-01-2026 · Ana Puig · 600011122\nGremio: pintura y albañilería\nhay grietas\nen el techo\n\n"
    )
    (tmp_path / "notas" / "a.txt").write_text(note + note.replace(" · 600011122", ""), encoding="utf-8")
    extract(tmp_path, tmp_path / "out")
    (row,) = rows(tmp_path / "out")
    assert (row["texto"], row["gremios"]) == ("hay grietas en el techo", "pintura y albañilería")
    assert reasons(tmp_path / "out") == [("notas/a.txt:6", "fila truncada")]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("soy José Peña Gil, grifo", f"soy {REMOVED}, grifo"),
        ("SOY JOSE PEÑA, grifo", f"SOY {REMOVED}, grifo"),
        ("soy jose y tengo una fuga", f"soy {REMOVED} y tengo una fuga"),
        ("llamar al 600 01 11 22 o al 600-011-122", f"llamar al {REMOVED} o al {REMOVED}"),
        ("la peña del bar", "la peña del bar"),
    ],
)
def test_the_claimants_own_data_leave_the_text(text: str, left: str) -> None:
    assert without(text, "José Peña Gil", "600011122") == left


def test_every_row_of_the_committed_sources_is_read_or_set_aside(tmp_path: Path) -> None:
    told = extract(DATA / "fuentes", tmp_path)
    sent = sum(len((DATA / "fuentes" / name).read_bytes().splitlines()) for name in ("formulario.jsonl",))
    sent += sum(
        len((DATA / "fuentes" / name).read_bytes().splitlines()) - 1 for name in ("siniestros.csv", "revisadas.csv")
    )
    sent += sum(
        file.read_text(encoding="utf-8").count("=== Parte") for file in (DATA / "fuentes" / "notas").glob("*.txt")
    )
    assert sum(told.read.values()) + sum(told.aside.values()) == sent
    assert set(told.aside) == {"codificación", "fila truncada", "cambio de esquema"}
