"""How good a model is on claims that it has not seen: figures, and a page that shows them."""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np

from entrenamiento.claims import Claim, mistyped
from entrenamiento.compare import Comparison, compare

mpl.use("svg")
from matplotlib import pyplot as plt

SEED = 11
TYPOS = 0.2
WORST = 15
BINS = 5

Answers = list[dict[str, float]]
Model = Callable[[Sequence[str]], Answers]

# Runs in a process of its own, so that two versions of one package can be asked: texts in, probabilities out, as JSON.
_ASK = """
import json, sys
sys.path.insert(0, sys.argv[1])
from clasificador_modelo import classify, probabilities
found = []
for text in json.load(sys.stdin):
    first = classify(text).tokens[0].token
    ranked = sorted(probabilities(text).items(), key=lambda item: (item[0] != first, -item[1], item[0]))
    found.append(ranked)
json.dump(found, sys.stdout)
"""


def installed(folder: Path) -> Model:
    """The model of a wheel, or of a folder that holds the package."""

    def ask(texts: Sequence[str]) -> Answers:
        process = subprocess.run(
            [sys.executable, "-I", "-c", _ASK, str(folder)],
            input=json.dumps(list(texts)),
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        return [dict(ranked) for ranked in json.loads(process.stdout)]

    return ask


def without_accents(text: str) -> str:
    """``text`` without the marks on its letters, ñ too."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


def worn(claims: Sequence[Claim]) -> dict[str, list[str]]:
    """The claims' texts as written, without accents, with a typing error in one word of five, and with both."""
    rng = random.Random(SEED)  # noqa: S311
    texts = [claim.text for claim in claims]
    bare = [without_accents(text) for text in texts]
    return {
        "as written": texts,
        "no accents": bare,
        "one word in five mistyped": [mistyped(rng, text, typos=TYPOS) for text in texts],
        "no accents and one word in five mistyped": [mistyped(rng, text, typos=TYPOS) for text in bare],
    }


def measure(claims: Sequence[Claim], answers: Answers) -> dict[str, Any]:
    """Figures of ``answers`` (each the likeliest label first) to ``claims``.

    ``top1`` and ``top2``: the share of claims whose first trade is the first, or one of the first two, answers.
    ``macro_f1``: the mean over labels of F1 of the first answer. ``calibration_error``: the mean distance, over all
    probabilities given, between probability and frequency in fifths of the scale.
    """
    labels = sorted({label for claim in claims for label in claim.labels} | set(answers[0]))
    first = [next(iter(answer)) for answer in answers]
    truth = [claim.labels[0] for claim in claims]
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    for said, true in zip(first, truth, strict=True):
        confusion[labels.index(true), labels.index(said)] += 1
    per_label = {}
    for column, label in enumerate(labels):
        right = int(confusion[column, column])
        precision = right / max(1, int(confusion[:, column].sum()))
        recall = right / max(1, int(confusion[column].sum()))
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        per_label[label] = {"precision": precision, "recall": recall, "f1": f1, "claims": int(confusion[column].sum())}
    bins = _bins(claims, answers)
    total = sum(row["answers"] for row in bins)
    return {
        "claims": len(claims),
        "top1": sum(said == true for said, true in zip(first, truth, strict=True)) / len(claims),
        "top2": sum(true in list(answer)[:2] for answer, true in zip(answers, truth, strict=True)) / len(claims),
        "macro_f1": sum(row["f1"] for row in per_label.values()) / len(per_label),
        "calibration_error": sum(row["answers"] * abs(row["probability"] - row["frequency"]) for row in bins) / total,
        "labels": labels,
        "per_label": per_label,
        "confusion": confusion.tolist(),
        "calibration": bins,
    }


def _bins(claims: Sequence[Claim], answers: Answers) -> list[dict[str, Any]]:
    """For each score 1–5: how many answers had it, their mean probability, and how often the trade was needed."""
    rows: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for claim, answer in zip(claims, answers, strict=True):
        for label, probability in answer.items():
            rows[min(BINS - 1, int(probability * BINS))].append((probability, label in claim.labels))
    return [
        {
            "score": score,
            "answers": len(row),
            "probability": sum(probability for probability, _ in row) / max(1, len(row)),
            "frequency": sum(needed for _, needed in row) / max(1, len(row)),
        }
        for score, row in enumerate(rows, start=1)
    ]


def evaluate(model: Model, claims: Sequence[Claim], champion: Model | None) -> tuple[dict[str, Any], Comparison | None]:
    """All figures of ``model`` on ``claims``, worn ones too, and the comparison with ``champion`` if there is one."""
    ways = worn(claims)
    asked = model([text for texts in ways.values() for text in texts])
    answers = {name: asked[row * len(claims) : (row + 1) * len(claims)] for row, name in enumerate(ways)}
    found = measure(claims, answers["as written"])
    found["worn"] = {
        name: {key: value for key, value in measure(claims, some).items() if key in ("top1", "top2", "macro_f1")}
        for name, some in answers.items()
    }
    found["worst"] = _worst(claims, answers["as written"])
    if champion is None:
        return found, None
    theirs = champion(ways["as written"])
    compared = compare(_right(claims, answers["as written"]), _right(claims, theirs))
    found["champion"] = {**asdict(compared), "worse": compared.worse, "macro_f1": measure(claims, theirs)["macro_f1"]}
    return found, compared


def _right(claims: Sequence[Claim], answers: Answers) -> list[bool]:
    return [next(iter(answer)) == claim.labels[0] for claim, answer in zip(claims, answers, strict=True)]


def _worst(claims: Sequence[Claim], answers: Answers) -> list[dict[str, Any]]:
    """The wrong answers that the model was surest of."""
    rows: list[dict[str, Any]] = []
    for claim, answer in zip(claims, answers, strict=True):
        said = next(iter(answer))
        if said != claim.labels[0]:
            row = {"text": claim.text, "said": said, "probability": answer[said], "true": " + ".join(claim.labels)}
            rows.append({**row, "given": answer[claim.labels[0]]})
    return sorted(rows, key=lambda row: (row["given"] - row["probability"], row["text"]))[:WORST]


def page(found: dict[str, Any], about: dict[str, Any], file: Path) -> None:
    """Write the figures as HTML into ``file``; ``about`` is the model's metadata."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "plantillas"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plots = {"confusion": _confusion(found), "calibration": _calibration(found)}
    text = environment.get_template("evaluacion.html").render(found=found, about=about, plots=plots)
    file.write_text(text, encoding="utf-8")


def _confusion(found: dict[str, Any]) -> str:
    labels, matrix = found["labels"], np.array(found["confusion"])
    with plt.rc_context({"svg.hashsalt": "modelo", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(6.6, 5.4), layout="constrained")
        axes.imshow(matrix, cmap="Blues")
        axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("answered first")
        axes.set_ylabel("first trade")
        for row, column in np.argwhere(matrix > 0):
            color = "white" if matrix[row, column] > matrix.max() / 2 else "#1d2733"
            axes.text(column, row, matrix[row, column], ha="center", va="center", color=color)
        return _svg(figure)


def _calibration(found: dict[str, Any]) -> str:
    bins = [row for row in found["calibration"] if row["answers"]]
    with plt.rc_context(
        {"svg.hashsalt": "modelo", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure, axes = plt.subplots(figsize=(4.6, 3.8), layout="constrained")
        axes.plot([0, 1], [0, 1], color="#b8c4cc", linewidth=1)
        axes.plot([row["probability"] for row in bins], [row["frequency"] for row in bins], "o-", color="#2f6f9f")
        for row in bins:
            axes.annotate(
                f"score {row['score']}: {row['answers']}",
                (row["probability"], row["frequency"]),
                xytext=(-6 if row["score"] == BINS else 6, -12),
                textcoords="offset points",
                ha="right" if row["score"] == BINS else "left",
                color="#5b6b78",
            )
        axes.set_xlabel("probability given")
        axes.set_ylabel("how often the trade was needed")
        return _svg(figure)


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
