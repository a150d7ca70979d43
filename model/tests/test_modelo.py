from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from clasificador_modelo import MAX_SCORE, classify, golden, metadata, model_card, probabilities
from clasificador_modelo._texto import MOST_CHARACTERS, Spelling, pairs, pieces, words
from conftest import PACKAGE
from entrenamiento.claims import Claim

BASIC = {
    "bañera": "fontanería",
    "enchufe": "electricidad",
    "armario": "carpintería",
    "cerradura": "cerrajería",
    "espejo": "cristalería",
    "grieta": "albañilería",
    "pintar": "pintura",
    "calefacción": "climatización",
    "lavadora": "electrodomésticos",
    "persiana": "persianas",
    "el enchufe echa chispas": "electricidad",
    "la persiana no sube": "persianas",
}


@pytest.mark.parametrize(("text", "label"), BASIC.items())
def test_a_plain_word_or_sentence_gets_its_trade(text: str, label: str) -> None:
    assert classify(text).tokens[0].token == label


def test_a_bath_needs_a_plumber_and_then_a_carpenter() -> None:
    first, second = classify("bañera").tokens
    assert (first.token, first.score) == ("fontanería", 5)
    assert second.token == "carpintería"
    assert 2 <= second.score <= 4


def test_the_golden_answers_are_those_that_the_package_gives() -> None:
    answers = golden()
    assert {answer.answer.tokens[0].token for answer in answers} == set(BASIC.values())
    assert [answer for answer in answers if classify(answer.text) != answer.answer] == []


def test_accents_case_and_form_do_not_matter() -> None:
    assert classify("BANERA") == classify("bañera") == classify("ban\u0303era") == classify("¡Bañera!")


def test_scores_are_fifths_of_the_probability_best_first() -> None:
    text = "el grifo del mueble de madera gotea y ha hinchado la tarima"
    given = probabilities(text)
    tokens = classify(text).tokens
    assert len(tokens) > 1
    assert [token.token for token in tokens] == list(given)[: len(tokens)]
    assert [token.score for token in tokens] == [min(MAX_SCORE, 1 + int(5 * given[token.token])) for token in tokens]
    assert list(given.values()) == sorted(given.values(), reverse=True)


@pytest.mark.parametrize(
    "text", ["", "¿?", "▮", "x" * 10_000, "tubería " * 5_000, "\x00\ud800", "漢字", "a" * 3 + "\u0301" * 100]
)
def test_any_text_is_answered(text: str) -> None:
    found = probabilities(text)
    assert set(found) == set(BASIC.values())
    assert all(0 <= value <= 1 for value in found.values())
    assert classify(text).tokens


def test_only_the_first_characters_are_read() -> None:
    text = "la persiana no sube ".ljust(MOST_CHARACTERS)
    assert classify(text + "el grifo gotea y la tubería pierde agua") == classify(text)


def test_text_is_read_as_words_pairs_and_pieces() -> None:
    found = words("¡El GRIFO de la cocina—gotea, 3 días!")
    assert found == ["el", "grifo", "de", "la", "cocina", "gotea", "dias"]
    assert pairs(found) == ["grifo cocina", "cocina gotea", "gotea dias"]
    assert pieces("luz") == ["<lu", "luz", "uz>", "<luz", "luz>", "<luz>"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("grfo", "grifo"),
        ("grif", "grifo"),
        ("griffo", "grifo"),
        ("grifoo", "grifo"),
        ("grigo", "grifo"),
        ("girfo", "grifo"),
        ("griof", "grifo"),
        ("grifo", "grifo"),
        ("grto", "grito"),
        ("rgifo", "rgifo"),
        ("grffff", "grffff"),
        ("luzz", "luz"),
        ("lus", "lus"),
    ],
)
def test_a_mistyped_word_is_read_as_the_likeliest_that_one_error_makes_it_of(typed: str, meant: str) -> None:
    assert Spelling(["grifo", "grito", "luz"]).read(typed) == meant


def test_a_typing_error_does_not_change_the_answer() -> None:
    assert classify("la persaina del salnó no ssube") == classify("la persiana del salón no sube")


def test_the_model_is_data_and_tells_what_it_was_made_from() -> None:
    package = PACKAGE / "clasificador_modelo"
    assert {file.suffix for file in package.iterdir() if file.is_file()} == {".py", ".typed", ".json", ".tabla", ".md"}
    about = metadata()
    assert len(about["data"]["sha256"]) == 64
    assert about["data"]["claims"] > 6000
    assert about["data"]["commit"]
    assert about["code"]["commit"]
    assert about["version"] in model_card()
    assert about["version"] in (PACKAGE / "VERSION").read_text()


def test_the_model_is_good_on_claims_that_it_has_not_seen(evaluation: list[Claim]) -> None:
    right = sum(classify(claim.text).tokens[0].token == claim.labels[0] for claim in evaluation)
    assert right / len(evaluation) == pytest.approx(metadata()["metrics"]["hand_written"]["top1"], abs=1e-4)
    assert right / len(evaluation) >= 0.92


def test_importing_takes_no_other_package(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import clasificador_modelo as c; c.classify('grifo'); " + (
        "import json; print(json.dumps(sorted(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(PACKAGE)], capture_output=True, check=True, text=True, cwd=tmp_path
    )
    names = {name.partition(".")[0] for name in json.loads(loaded.stdout)}
    assert names - set(sys.stdlib_module_names) - {"__main__", "clasificador_modelo"} == set()
    assert "pickle" not in names
