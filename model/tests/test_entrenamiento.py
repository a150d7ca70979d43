from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, MODEL, PACKAGE
from entrenamiento.__main__ import main
from entrenamiento.claims import Claim, mistyped
from entrenamiento.compare import compare
from entrenamiento.evaluate import evaluate, installed, measure, without_accents, worn
from entrenamiento.train import CANDIDATES, Choice, choose, counts, files, fit, rarity, weighed


def claim(text: str, *labels: str, group: int = 0) -> Claim:
    return Claim(text=text, labels=labels, group=group, reviewed=False)


@pytest.fixture(scope="module")
def small() -> list[Claim]:
    """Claims of two trades, and some that need both."""
    words = ["grifo", "ducha", "cañería", "desagüe", "cisterna"], ["enchufe", "cable", "bombilla", "lámpara", "fusible"]
    rng = random.Random(1)
    found = []
    for number in range(120):
        kind = number % 2
        text = f"{rng.choice(words[kind])} del {rng.choice(['salón', 'baño', 'piso'])} {rng.choice(['roto', 'viejo'])}"
        found.append(claim(text, ("fontanería", "electricidad")[kind], group=number))
    return found


CHOICE = Choice(candidate=CANDIDATES[2], scores={}, slope=5.0, offset=1.0, least=0.5)


def test_the_exported_table_gives_what_the_training_computed(small: list[Claim], tmp_path: Path) -> None:
    trained = fit(small, CHOICE)
    about, table = files(trained)
    package = tmp_path / "clasificador_modelo"
    package.mkdir()
    for file in (MODEL / "paquete" / "clasificador_modelo").glob("*.py"):
        (package / file.name).write_bytes(file.read_bytes())
    (package / "modelo.json").write_text(json.dumps(about))
    (package / "modelo.tabla").write_bytes(table)
    texts = ["el grifo gotea", "cable roto del salon", "un enchfe viejo", "nada de eso", "grifo grifo enchufe"]
    rows = {name: column for column, name in enumerate(trained.features)}
    values = weighed(counts(texts, rows), trained.idf) @ trained.weights + trained.intercepts
    expected = 1 / (1 + np.exp(-(values * CHOICE.slope + CHOICE.offset)))
    for answer, row in zip(installed(tmp_path)(texts), expected, strict=True):
        assert [answer[label] for label in trained.labels] == pytest.approx(row, abs=2e-3)


def test_the_same_claims_train_the_same_bytes(small: list[Claim]) -> None:
    assert files(fit(small, choose(small))) == files(fit(small, choose(small)))


@pytest.mark.slow
def test_the_same_package_builds_the_same_wheel(tmp_path: Path) -> None:
    wheels = []
    for name in ("one", "two"):
        copy = tmp_path / name / "paquete"
        shutil.copytree(
            PACKAGE, copy, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns("build", "*.egg-info")
        )
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
        subprocess.run([*command, str(tmp_path / name), str(copy)], check=True, env=environment)
        wheels += [file.read_bytes() for file in (tmp_path / name).glob("*.whl")]
    assert len(wheels) == 2
    assert wheels[0] == wheels[1]


def test_cross_validation_scores_every_candidate_and_takes_the_best(small: list[Claim]) -> None:
    choice = choose(small)
    assert len(choice.scores) == len(CANDIDATES)
    best = f"{choice.candidate.name} {choice.candidate.strength:g}"
    assert choice.scores[best] == max(choice.scores.values())
    assert choice.slope > 0


def test_a_feature_of_no_claim_weighs_nothing() -> None:
    idf = rarity(counts(["grifo", "grifo roto", "roto", "grifo"], {"=grifo": 0, "=roto": 1, "=luz": 2}))
    assert idf[2] == 0
    assert idf[1] > idf[0] > 0


def test_texts_are_worn_as_far_as_asked() -> None:
    rng = random.Random(3)
    text = "uno dos tres cuatro cinco seiss siete ochoo nueve diezz"
    assert mistyped(rng, text, typos=0.0) == text
    changed = [one for one, two in zip(text.split(), mistyped(rng, text, typos=0.2).split(), strict=True) if one != two]
    assert 1 <= len(changed) <= 2
    assert len(mistyped(rng, text * 20, typos=0.0, missing=0.5).split()) < len((text * 20).split()) * 0.7
    assert without_accents("la Cañería") == "la Caneria"


def test_every_way_of_wearing_changes_the_evaluation(evaluation: list[Claim]) -> None:
    ways = worn(evaluation)
    texts = ways.pop("as written")
    for some in ways.values():
        assert sum(one != two for one, two in zip(texts, some, strict=True)) > len(texts) / 2


ANSWERS = [{"a": 0.9, "b": 0.1}, {"a": 0.7, "b": 0.65}, {"b": 0.6, "a": 0.3}, {"b": 0.95, "a": 0.05}]
CLAIMS = [claim("1", "a"), claim("2", "b", "a"), claim("3", "a"), claim("4", "b")]


def test_figures_are_counted_as_they_are_defined() -> None:
    found = measure(CLAIMS, ANSWERS)
    assert (found["top1"], found["top2"]) == (0.5, 1.0)
    assert found["confusion"] == [[1, 1], [1, 1]]
    assert found["per_label"]["a"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "claims": 2}
    top = found["calibration"][4]
    assert (top["score"], top["answers"], top["frequency"]) == (5, 2, 1.0)
    assert top["probability"] == pytest.approx(0.925)


@pytest.mark.parametrize(
    ("won", "lost", "worse"),
    [(0, 0, False), (5, 5, False), (10, 14, False), (10, 40, True), (40, 10, False), (0, 5, True)],
)
def test_only_a_loss_beyond_noise_is_worse(won: int, lost: int, worse: bool) -> None:
    ours = [True] * won + [False] * lost + [True] * 100
    theirs = [False] * won + [True] * lost + [True] * 100
    compared = compare(ours, theirs)
    assert compared.worse is worse
    assert (compared.won, compared.lost) == (won, lost)
    assert compared.low <= compared.challenger - compared.champion <= compared.high


def test_models_with_other_claims_are_not_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        compare([True], [True, False])
    with pytest.raises(ValueError, match="cannot be compared"):
        compare([], [])


def crippled(folder: Path) -> Path:
    """A copy of the model that has forgotten most of its units."""
    target = folder / "clasificador_modelo"
    target.mkdir(parents=True)
    for file in (PACKAGE / "clasificador_modelo").iterdir():
        if file.is_file():
            (target / file.name).write_bytes(file.read_bytes())
    about = json.loads((target / "modelo.json").read_text(encoding="utf-8"))
    units = about["units"].split("\n")
    about["units"] = "\n".join(unit if row % 8 == 0 else f"#{row}" for row, unit in enumerate(units))
    (target / "modelo.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_worse_model_ends_with_exit_code_3_and_its_report(tmp_path: Path) -> None:
    bad = crippled(tmp_path / "bad")
    evaluation = DATA / "evaluacion" / "reclamaciones.csv"
    wheel = tmp_path / "champion.zip"
    subprocess.run(
        [sys.executable, "-m", "zipfile", "-c", str(wheel), str(PACKAGE / "clasificador_modelo")], check=True
    )
    arguments = ["evaluate", "--evaluation", str(evaluation), "--champion", str(wheel)]
    assert main([*arguments, "--model", str(bad), "--out", str(tmp_path / "one")]) == 3
    assert json.loads((tmp_path / "one" / "evaluacion.json").read_text())["champion"]["worse"] is True
    assert "Worse than the champion" in (tmp_path / "one" / "evaluacion.html").read_text()
    assert main([*arguments, "--model", str(PACKAGE), "--out", str(tmp_path / "two")]) == 0
    page = (tmp_path / "two" / "evaluacion.html").read_text(encoding="utf-8")
    assert "Not worse than the champion" in page
    assert "<script" not in page


def test_without_a_champion_the_figures_stand_alone(evaluation: list[Claim]) -> None:
    found, compared = evaluate(installed(PACKAGE), evaluation[:50], None)
    assert compared is None
    assert set(found["worn"]) == set(worn(evaluation[:50]))


def test_a_missing_file_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", "--model", str(PACKAGE), "--evaluation", str(tmp_path / "no.csv"), "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "there is no" in capsys.readouterr().err
