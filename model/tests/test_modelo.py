from __future__ import annotations

import pytest
from clasificador_modelo import MAX_SCORE, classify, metadata, probabilities

GOLDEN = {
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
}


@pytest.mark.parametrize(("text", "label"), GOLDEN.items())
def test_golden_predictions(text: str, label: str) -> None:
    assert classify(text).tokens[0].token == label


def test_accents_case_and_form_do_not_matter() -> None:
    assert classify("BANERA") == classify("bañera") == classify("ban\u0303era")


def test_scores_are_integers_best_first() -> None:
    tokens = classify("el grifo del mueble de madera gotea").tokens
    scores = [token.score for token in tokens]
    assert scores == sorted(scores, reverse=True)
    assert all(1 <= score <= MAX_SCORE for score in scores)


def test_probabilities_add_up_to_one_for_any_text() -> None:
    for text in ("", "¿?", "x" * 10_000, "tubería"):
        assert sum(probabilities(text).values()) == pytest.approx(1)


def test_the_model_knows_what_it_was_made_from() -> None:
    assert len(metadata()["data_sha256"]) == 64
    assert metadata()["cross_validated_accuracy"] > 0.6
