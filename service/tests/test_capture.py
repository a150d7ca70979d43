from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicio import model as models
from servicio import personal_data
from servicio.capture import Capture, close_left
from servicio.settings import Settings

from tests.conftest import eventually, serving

MODEL = models.load()


def capture(folder: Path, **settings: object) -> Capture:
    return Capture(Settings(capture_dir=folder, **settings), MODEL)  # type: ignore[arg-type]


def kept(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for file in sorted(folder.glob("captura-*")) for line in file.read_text().splitlines()]


def test_predictions_are_kept_with_their_model_and_without_personal_data(tmp_path: Path) -> None:
    one = capture(tmp_path)
    one.start()
    text = "Me llamo Ana García, 612 345 678: la bañera pierde"
    one.keep(text, MODEL.classify(text))
    eventually(lambda: len(kept(tmp_path)) == 1, "it is written", 5)
    (record,) = kept(tmp_path)
    assert record["text"] == "Me llamo [nombre], [teléfono]: la bañera pierde"
    assert record["model"] == {"version": MODEL.version, "digest": MODEL.digest, "data": MODEL.data_digest}
    assert record["tokens"][0] == {"token": "fontanería", "score": MODEL.classify(text).tokens[0].score}  # type: ignore[index]


def test_files_are_closed_by_size_and_what_is_too_many_is_dropped(tmp_path: Path) -> None:
    one = capture(tmp_path, capture_file_bytes=1, capture_files=3)
    one.start()
    for _ in range(10):
        one.keep("grifo", MODEL.classify("grifo"))
    eventually(lambda: len(list(tmp_path.glob("*.jsonl"))) == 3, "three files", 5)
    time.sleep(0.2)
    assert len(list(tmp_path.glob("captura-*"))) == 3
    next(tmp_path.glob("*.jsonl")).unlink()  # as the upload does
    one.keep("grifo", MODEL.classify("grifo"))
    eventually(lambda: len(list(tmp_path.glob("*.jsonl"))) == 3, "goes on", 5)


def test_files_are_closed_by_age(tmp_path: Path) -> None:
    one = capture(tmp_path, capture_file_age=0.1)
    one.start()
    one.keep("grifo", MODEL.classify("grifo"))
    eventually(lambda: len(list(tmp_path.glob("*.jsonl"))) == 1, "closed", 5)


def test_a_full_queue_never_waits(tmp_path: Path) -> None:
    one = capture(tmp_path, capture_queue=2)  # nobody writes
    found = MODEL.classify("grifo")
    begun = time.monotonic()
    for _ in range(1000):
        one.keep("grifo", found)
    assert time.monotonic() - begun < 0.5


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_only_a_share_is_kept(tmp_path: Path, share: float) -> None:
    one = capture(tmp_path, capture_share=share)
    one.start()
    found = MODEL.classify("grifo")
    for _ in range(600):
        one.keep("grifo", found)
    time.sleep(0.5)
    assert len(kept(tmp_path)) == pytest.approx(600 * share, abs=60)


def test_what_the_dead_left_open_is_closed(tmp_path: Path) -> None:
    dead = tmp_path / f"captura-1-{os.getpid()}.part"  # of another container, where it was another process
    dead.touch()
    one = capture(tmp_path)
    one.start()
    eventually(lambda: not dead.exists(), "closed at the start", 5)
    one.keep("grifo", MODEL.classify("grifo"))
    eventually(lambda: len(kept(tmp_path)) == 1, "written", 5)
    close_left(tmp_path)
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [".jsonl", ".part"], "what is written to stays open"


def test_a_disk_that_fails_fails_no_request_and_is_counted() -> None:
    with serving(CAPTURE_DIR="/dev/null/captures") as service:
        for _ in range(20):
            assert service.classify().code == 200
        eventually(lambda: service.metric('servicio_capture_dropped_total{reason="disk"}') >= 20, "counted")


def test_the_service_captures_and_closes_its_files_when_it_ends(tmp_path: Path) -> None:
    with serving(CAPTURE_DIR=str(tmp_path)) as service:
        assert service.classify("Mi teléfono es el 612345678, gotea el grifo").code == 200
        eventually(lambda: any("[teléfono]" in str(record["text"]) for record in kept(tmp_path)), "kept", 5)
    assert [file.suffix for file in tmp_path.iterdir()] == [".jsonl"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("llámeme al 612345678", "llámeme al [teléfono]"),
        ("tel. +34 912 34 56 78.", "tel. [teléfono]."),
        ("0034-612-345-678", "[teléfono]"),
        ("mi DNI es 12345678Z y el NIE X1234567L", "mi DNI es [dni] y el NIE [dni]"),
        ("12.345.678-z", "[dni]"),
        ("ES91 2100 0418 4502 0005 1332 es la cuenta", "[iban] es la cuenta"),
        ("es9121000418450200051332", "[iban]"),
        ("DE89370400440532013000", "[iban]"),
        ("a.b+c@correo.example.es, gracias", "[correo], gracias"),
        ("matrícula 1234 BCD o M-1234-AB", "matrícula [matrícula] o [matrícula]"),
        ("Me llamo María de la Cruz Núñez y gotea", "Me llamo [nombre] y gotea"),
        ("me llamo juan pérez y tengo una fuga", "me llamo [nombre] y tengo una fuga"),
        ("Atentamente, José Mª López", "Atentamente, [nombre]"),
        ("la persiana del 3º B no sube desde 2021", "la persiana del 3º B no sube desde 2021"),
        ("se han roto 2 grifos y 15 azulejos de 1200 mm", "se han roto 2 grifos y 15 azulejos de 1200 mm"),
    ],
)
def test_personal_data_is_taken_out(text: str, clean: str) -> None:
    assert personal_data.without(text) == clean


@given(
    st.from_regex(r"[6789]\d{8}", fullmatch=True),
    st.sampled_from(["", " ", "-", "."]),
    st.text(alphabet="abcñ ,;", max_size=10),
)
def test_no_telephone_remains(number: str, gap: str, around: str) -> None:
    written = gap.join((number[:3], number[3:6], number[6:]))
    clean = personal_data.without(f"{around} {written} {around}")
    assert not re.search(r"\d{3}", clean)


@given(st.sampled_from(["a", "1", "-", "a@", "me llamo ", "Me llamo De ", "ES12 ", "1 ", "X1", "\u00df", "@a."]))
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    begun = time.perf_counter()
    personal_data.without((piece * 10_000)[:10_000])
    assert time.perf_counter() - begun < 0.3
