from __future__ import annotations

import hashlib
from itertools import combinations
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DATA, curate
from datos import generate
from datos.clean import clean
from datos.extract import CLAIMS, REMOVED
from datos.labels import LABELS, UnknownLabel, parse
from datos.signatures import alike, sign
from hypothesis import given
from hypothesis import strategies as st


def cleaned(text: str) -> str:
    row = pa.table(
        {"id": [0], "fuente": ["notas"], "origen": ["a:1"], "texto": [text], "gremios": ["pintura"]}, schema=CLAIMS
    )
    good, bad = clean(row)
    assert bad.num_rows == 0
    found: str = good["texto"][0].as_py()
    return found


@pytest.mark.parametrize(
    "secret",
    [
        "ana.puig+1@correo.example",
        "600 12 34 56",
        "+34 912345678",
        "0034-600-123-456",
        "12345678Z",
        "12.345.678-z",
        "X1234567L",
        "ES91 2100 0418 4502 0005 1332",
        "ES9121000418450200051332",
        "4111 1111 1111 1111",
        "HG12345678",
        "calle de la Paz, 12, 3º B",
        "Avda. Constitución 4",
        "avenida del puerto 21 2º",
    ],
)
def test_personal_data_leave_the_text(secret: str) -> None:
    assert cleaned(f"El grifo gotea {secret} y nada más") == f"El grifo gotea {REMOVED} y nada más"


@pytest.mark.parametrize("who", ["Me llamo Ana Puig Sanz", "Fdo.: José de la Peña", "Dña. Ángela Ruiz", "Soy Íñigo"])
def test_names_that_are_introduced_leave_the_text(who: str) -> None:
    introduced = who.split(" ")[0] if not who.startswith("Me") else "Me llamo"
    assert cleaned(f"El grifo gotea. {who}, gracias") == f"El grifo gotea. {introduced} {REMOVED}, gracias"


@pytest.mark.parametrize(
    "text",
    [
        "la puerta de la calle no cierra desde hace 3 días",
        "el error E10 sale 2 veces y la presión es 1.5",
        "soy la propietaria del piso 3º B",
        "400 euros de agua en 2025",
    ],
)
def test_what_is_not_personal_stays(text: str) -> None:
    assert cleaned(text) == text


def test_forms_of_unicode_and_spaces_are_made_one() -> None:
    assert cleaned("  la\tban\u0303era \u200b gotea\n ") == "la bañera gotea"


@pytest.mark.parametrize(
    ("raw", "labels"),
    [
        (" FONTANERIA ", "fontanería"),
        ("fontanero, Pintor", "fontanería|pintura"),
        ("albañileria y pintura", "albañilería|pintura"),
        ("pintura|pintura", "pintura"),
    ],
)
def test_labels_are_read_however_they_are_spelt(raw: str, labels: str) -> None:
    assert parse(raw) == labels


@pytest.mark.parametrize("raw", ["", " ", "jardinería", "fontanería, jardinería", None])
def test_an_unknown_label_is_not_guessed(raw: str | None) -> None:
    with pytest.raises(UnknownLabel):
        parse(raw)


def test_each_rejected_row_has_its_reason(tmp_path: Path) -> None:
    rows = [
        ("el grifo gotea mucho", "fontanería"),
        ("…", "pintura"),
        ("x" * 2001, "pintura"),
        ("pared", "jardines"),
        ("muro", ""),
    ]
    told, curated, rejected = curate(tmp_path, rows)
    assert told.curated == len(curated) == 1
    assert told.rejected == {"etiqueta desconocida": 1, "sin etiqueta": 1, "sin texto": 1, "texto demasiado largo": 1}
    assert [row["origen"] for row in rejected] == [f"notas/a.txt:{line}" for line in range(1, 5)]


LONG = "la caldera del sótano pierde presión cada noche y los radiadores del segundo piso quedan completamente fríos"


def test_a_claim_told_again_with_other_letters_is_kept_once(tmp_path: Path) -> None:
    rows = [
        (LONG, "climatización"),
        (LONG.upper().replace("Ó", "O"), "climatización"),
        (f"Buenos días, {LONG}. Gracias", "climatización"),
    ]
    told, curated, rejected = curate(tmp_path, rows)
    assert [row["texto"] for row in curated] == [LONG]
    assert told.rejected == {"casi duplicada": 2}
    assert str(rejected[0]["detalle"]).startswith("de notas/a.txt:0: ")


def test_most_of_the_same_claims_decide_the_label(tmp_path: Path) -> None:
    told, curated, _ = curate(tmp_path, [(LONG, "pintura"), (LONG, "climatización"), (LONG + ".", "climatización")])
    assert [(row["etiquetas"], row["corregida"]) for row in curated] == [("climatización", True)]
    assert told.corrected == 1


def test_the_same_claim_with_as_many_labels_each_way_is_rejected(tmp_path: Path) -> None:
    told, curated, _ = curate(tmp_path, [(LONG, "pintura"), (LONG, "climatización")])
    assert curated == []
    assert told.rejected == {"etiquetas en conflicto": 2}


def test_claims_of_other_matters_are_no_duplicates(tmp_path: Path) -> None:
    texts = [
        "el grifo de la cocina gotea",
        "el enchufe de la cocina echa chispas",
        "cristal roto",
        "espejo roto",
        "bañera",
    ]
    told, _, _ = curate(tmp_path, [(text, "pintura") for text in texts])
    assert told.curated == len(texts)


def test_an_empty_table_gives_empty_results(tmp_path: Path) -> None:
    told, curated, rejected = curate(tmp_path, [])
    assert (told.curated, curated, rejected) == (0, [], [])


@pytest.mark.slow
def test_batches_and_processes_do_not_change_the_result(tmp_path: Path) -> None:
    rows = [(claim.text, claim.labels) for claim in generate.claims(600)]
    told, curated, rejected = curate(tmp_path, rows)
    table = pq.read_table(tmp_path / "extraidas.parquet")
    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(table, other / "extraidas.parquet", row_group_size=97)
    from datos.transform import transform

    assert transform(other / "extraidas.parquet", other, processes=2) == told
    assert pq.read_table(other / "curadas.parquet").to_pylist() == curated
    assert pq.read_table(other / "rechazadas.parquet").to_pylist() == rejected


def test_no_near_duplicate_of_a_test_claim_is_in_the_training(results: Path) -> None:
    frame = pl.read_parquet(results / "curadas.parquet")
    assert frame.group_by("grupo").agg(pl.col("particion").n_unique())["particion"].max() == 1
    words = frame["texto"].str.to_lowercase().str.extract_all(r"[\p{L}\d]{4,}").to_list()
    sets = [frozenset(found) for found in words]
    parts = frame["particion"].to_list()
    by_word: dict[str, list[int]] = {}
    for index, found in enumerate(sets):
        for word in sorted(found, key=len)[-3:]:
            by_word.setdefault(word, []).append(index)
    close = {
        (one, two)
        for indices in by_word.values()
        if len(indices) < 80
        for one, two in combinations(indices, 2)
        if parts[one] != parts[two]
        and len(sets[one]) > 4
        and len(sets[one] & sets[two]) / len(sets[one] | sets[two]) >= 0.8
    }
    # grouping is by sketches, so a few slip through: 1 in 500 of the test claims at most
    assert len(close) <= parts.count("test") / 500


def test_the_committed_claims_are_enough_and_balanced(results: Path) -> None:
    frame = pl.read_parquet(results / "curadas.parquet")
    assert frame.height >= 6000
    assert frame["texto"].n_unique() == frame.height
    counts = frame["etiquetas"].str.split("|").list.first().value_counts()
    assert set(counts["etiquetas"]) == set(LABELS)
    assert min(counts["count"]) > frame.height / len(LABELS) * 0.9
    share = frame["particion"].value_counts(normalize=True).filter(pl.col("particion") == "test")["proportion"][0]
    assert 0.15 < share < 0.25


@pytest.mark.slow
def test_no_invented_persons_data_are_left(results: Path) -> None:
    text = "\n".join(pl.read_parquet(results / "curadas.parquet")["texto"])
    text += "\n".join(pl.read_parquet(results / "rechazadas.parquet")["detalle"])
    names = {claim.person.name.lower() for claim in generate.claims(2000)}
    assert [name for name in names if name in text.lower()] == []
    assert (
        pl.Series([text])
        .str.extract_all(r"\S+@\S+|[679]000\d{5}|\b99\d{6}[A-Za-z]|\bHG\d+|ES\d\d 2100")
        .explode()
        .drop_nulls()
        .to_list()
        == []
    )


@pytest.mark.slow
def test_the_committed_sources_are_what_the_generator_writes(tmp_path: Path) -> None:
    generate.write(tmp_path)
    for file in [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]:
        committed = DATA / "fuentes" / file.relative_to(tmp_path)
        assert hashlib.sha256(committed.read_bytes()).digest() == hashlib.sha256(file.read_bytes()).digest(), file.name


def test_the_hand_written_claims_are_apart(results: Path) -> None:
    held_out = pl.read_csv(DATA / "evaluacion" / "reclamaciones.csv")
    assert held_out.height >= 600
    assert all(parse(labels) == labels for labels in held_out["etiquetas"])
    assert held_out["etiquetas"].str.split("|").list.first().value_counts()["count"].to_list() == [60] * len(LABELS)
    simple = pl.col("texto").str.to_lowercase().str.replace_all(r"[^\p{L}]+", " ").str.strip_chars()
    seen = set(pl.read_parquet(results / "curadas.parquet").select(simple)["texto"])
    long = held_out.select(simple).filter(pl.col("texto").str.count_matches(" ") >= 3)
    assert seen.isdisjoint(long["texto"])


words = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=30).map(" ".join)


@pytest.mark.slow
@given(st.lists(words, min_size=1, max_size=8))
def test_signatures_do_not_depend_on_the_batch_or_the_order_of_words(texts: list[str]) -> None:
    together = sign(pa.array(texts))
    for index, text in enumerate(texts):
        alone = sign(pa.array([" ".join(sorted(text.split(), reverse=True))]))
        assert all(together[name][index] == alone[name][0] for name in together if name != "corte")
        assert together["corte"][index] == alone["corte"][0]


def test_sketches_tell_how_alike_two_texts_are() -> None:
    common = [f"palabra{number}" for number in range(300)]
    for share in (0.5, 0.8):
        cut = int(300 * (2 * share / (1 + share)))  # two sets of 300 that share `cut` words have this similarity
        other = common[:cut] + [f"otra{number}" for number in range(300 - cut)]
        one, two = sign(pa.array([" ".join(common), " ".join(other)]))["boceto"].tolist()
        assert alike(((one ^ two) & (2**64 - 1)).bit_count()) == pytest.approx(share, abs=0.25)
