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
        ("Me llamo: Juan Pérez, gotea", "Me llamo: [nombre], gotea"),
        ("mi nombre es: Ana. Gotea", "mi nombre es: [nombre]. Gotea"),
        ("Me  llamo  Ana  García y gotea", "Me llamo [nombre] y gotea"),
        ("me llamo maría del carmen lópez garcía y gotea", "me llamo [nombre] y gotea"),
        ("me llamo juan de la torre, gotea", "me llamo [nombre], gotea"),
        ("me llamo ana la bañera pierde", "me llamo [nombre] la bañera pierde"),
        ("ME LLAMO JUAN DE LA TORRE Y TENGO UNA FUGA", "ME LLAMO [nombre] Y TENGO UNA FUGA"),
        ("Me llamo M. Carmen García y gotea", "Me llamo [nombre] y gotea"),
        ("Me llamo Àlex de la Torre y gotea", "Me llamo [nombre] y gotea"),
        ("Me llamo José Pérez y gotea", "Me llamo [nombre] y gotea"),
        ("avisen a D. Juan o a la Sra. de la Cruz", "avisen a D. [nombre] o a la Sra. de la Cruz"),
        ("Atentamente,\nAna García", "Atentamente,\n[nombre]"),
        ("vivo en el 3º D. Gotea el grifo", "vivo en el 3º D. Gotea el grifo"),
        ("la puerta D. Gotea el grifo", "la puerta D. Gotea el grifo"),
        ("HE LLAMADO AL SR. PÉREZ Y LA LAVADORA PIERDE", "HE LLAMADO AL SR. [nombre] Y LA LAVADORA PIERDE"),
        ("AVISO DEL SR. PÉREZ LA LAVADORA PIERDE", "AVISO DEL SR. [nombre] LA LAVADORA PIERDE"),
        ("avisen al Sr. Ramón y Cajal", "avisen al Sr. [nombre]"),
        ("A la atención de D. Juan\nPersiana atascada", "A la atención de D. [nombre]\nPersiana atascada"),
        ("Me llamo Ana García\nCaldera averiada", "Me llamo [nombre]\nCaldera averiada"),
        ("me llamo ana garcía\ncaldera averiada", "me llamo [nombre]\ncaldera averiada"),
        ("mi hermano D. Juan Pérez", "mi hermano D. [nombre]"),
        ("Soy Ana García y gotea", "Soy [nombre] y gotea"),
        ("GOTEA. SOY ANA GARCÍA, 612345678", "GOTEA. SOY [nombre], [teléfono]"),
        ("Gotea. Fdo.: Pilar Prieto Ruiz", "Gotea. Fdo.: [nombre]"),
        ("la tapa está rota Fdo.: pilar Prieto Ruiz", "la tapa está rota Fdo.: [nombre]"),
        ("Gotea.\nFirmado: Pilar La Torre DNI 12345678Z", "Gotea.\nFirmado: [nombre] DNI [dni]"),
        ("me llamo ana garcía llamar al 612345678", "me llamo [nombre] llamar al [teléfono]"),
        ("avisen a Dña. Ana Ruiz Tfno. 612345678", "avisen a Dña. [nombre] Tfno. [teléfono]"),
        ("9/12/2021 612345678", "9/12/2021 [teléfono]"),
        ("NO93 8601 1117 947 es la cuenta", "[iban] es la cuenta"),
    ],
)
def test_personal_data_is_taken_out(text: str, clean: str) -> None:
    assert personal_data.without(text) == clean


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("teléfono", "612345678"),
        ("teléfono", "34612345678"),
        ("teléfono", "(91) 123 45 67"),
        ("teléfono", "91/1234567"),
        ("teléfono", "612/345/678"),
        ("teléfono", "612  345  678"),
        ("teléfono", "612\u00a0345\u00a0678"),
        ("teléfono", "612–345–678"),
        ("teléfono", "+34 (612) 345 678"),
        ("teléfono", "+351912345678"),
        ("teléfono", "(+34) 612 345 678"),
        ("teléfono", "0034 612 345 678"),
        ("dni", "12345678Z"),
        ("dni", "12 345 678 Z"),
        ("dni", "12345678 - Z"),
        ("dni", "X1.234.567-L"),
        ("dni", "x 1234567 l"),
        ("iban", "ES9121000418450200051332"),
        ("iban", "ES91\u00a02100\u00a00418\u00a04502\u00a00005\u00a01332"),
        ("iban", "ES91.2100.0418.45.0200051332"),
        ("iban", "GB29 NWBK 6016 1331 9268 19"),
        ("iban", "DE89 3704 0044 0532 0130 00"),
        ("matrícula", "M 1234 AB"),
        ("matrícula", "M1234AB"),
        ("matrícula", "MA 1234 CX"),
        ("matrícula", "M-123456"),
        ("matrícula", "m-1234-ab"),
        ("matrícula", "1234BCD"),
        ("matrícula", "1234 - bcd"),
    ],
)
def test_it_is_found_however_it_is_written(kind: str, written: str) -> None:
    for before, after in (("", ""), ("gotea: ", ", gracias"), ("es el ", " GOTEA EL GRIFO"), ("(", ")")):
        assert personal_data.without(f"{before}{written}{after}") == f"{before}[{kind}]{after}"
    if written[0].isdigit() or kind == "iban":
        assert personal_data.without(f"{kind}{written}.") == f"{kind}[{kind}]."
        assert personal_data.without(f"tel.{written}") == f"tel.[{kind}]"


@pytest.mark.parametrize(
    "text",
    [
        "la persiana del 3º B no sube desde 2021",
        "se han roto 2 grifos y 15 azulejos de 1200 mm",
        "desde el 12/05/2021 a las 10:30 no hay luz",
        "calle Mayor 12, 3º D, 28013 Madrid: gotea",
        "una puerta de 2030 x 725 x 35 mm y 2 de 1990",
        "el termo de 1500 W salta a 230 V",
        "pago de 1.250,50 euros a la comunidad",
        "don de gentes no le falta al portero",
        "SOY INQUILINO Y LA CALDERA NO VA",
        "vivo en el bajo D. Persiana rota",
        "en la escalera D. Persiana rota",
        "en el 3º-D. Persiana rota",
        "en el 3º, D. Persiana rota",
        "en el 3o D. Persiana rota",
        "presupuesto firmado, persiana atascada",
        "parte firmado. Caldera rota",
        "Firmado. Caldera rota",
        "Lean atentamente: grifo roto en la cocina",
        "ventana 60 120 200 a medida",
        "80 200 300 y otra",
        "puerta 1200 800 x 300",
        "PUERTA 1200 800 X 300",
        "hueco de 800 x 2030 725 y otro",
        "pila CR-2032",
        "caldera MA-2400",
        "Caldera C 120000",
        "Samsung UE55TU8005KXXC",
        "IP65 1000 2000",
        "el 9/12/2021 10:30",
        "el 9/8/2021 10.30.45",
        "10:00 12/05/2021",
        "gira a 1200 rpm",
        "tubo 1200 PVC",
    ],
)
def test_what_is_wrong_stays(text: str) -> None:
    assert personal_data.without(text) == text


@given(
    st.from_regex(r"[6789][0-9]{8}", fullmatch=True),
    st.sampled_from([(3, 3, 3), (3, 2, 2, 2), (2, 3, 2, 2), (2, 7), (1,) * 9, (9,)]),
    st.sampled_from(["", " ", "-", ".", "/", "  ", " - ", "\u00a0", "\u2009", "–", "\u2011"]),
    st.text(alphabet="abcñ ,;", max_size=10),
)
def test_no_telephone_remains(number: str, parts: tuple[int, ...], gap: str, around: str) -> None:
    digits = iter(number)
    written = gap.join("".join(next(digits) for _ in range(part)) for part in parts)
    clean = personal_data.without(f"{around}{written} {around}")
    # before a letter it may be taken for a DNI
    assert re.search(r"\[(teléfono|dni)\]", clean) and not re.search(r"\d", clean)


@given(st.text(), st.text())
def test_whatever_stands_around_it(text: str, more: str) -> None:
    clean = personal_data.without(f"{text}\nme llamo Juan, 612345678\n{more}")
    assert "612345678" not in clean and "Juan" not in clean.replace(text, "").replace(more, "")


@given(
    st.sampled_from(
        [
            "a",
            "1",
            "-",
            "a@",
            "me llamo ",
            "Me llamo De ",
            "ES12 ",
            "1 ",
            "X1",
            "\u00df",
            "@a.",
            "(",
            "- ",
            "D. ",
            "Fdo.:",
            "Sr. Y De La ",
            "SOY ANA ",
            "9/",
            "1.",
            "M ",
            "A1",
        ]
    )
)
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    begun = time.thread_time()
    personal_data.without((piece * 10_000)[:10_000])
    assert time.thread_time() - begun < 1  # one that looks again from each place takes minutes
