"""Train the model from the claims in ``data/`` and write it as JSON into the package that becomes the wheel."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "paquete"))
from clasificador_modelo import features  # noqa: E402

DATA = HERE.parent / "data" / "fuentes" / "revisadas.csv"
SEED = 7
DECIMALS = 4


def main(target: Path) -> None:
    """Train, measure by cross-validation, and write ``target``."""
    raw = DATA.read_bytes()
    rows = list(csv.DictReader(raw.decode("utf-8").splitlines()))
    texts = [features(row["texto"]) for row in rows]
    labels = [row["etiqueta"] for row in rows]
    pipeline = make_pipeline(
        DictVectorizer(), TfidfTransformer(), LogisticRegression(C=30, max_iter=2000, random_state=SEED)
    )
    accuracy = float(np.mean(cross_val_score(pipeline, texts, labels, cv=5)))
    pipeline.fit(texts, labels)
    vectorizer, tfidf, regression = (step for _, step in pipeline.steps)
    names = list(vectorizer.get_feature_names_out())
    model = {
        "metadata": {
            "version": "1.0.0",
            "data_sha256": hashlib.sha256(raw).hexdigest(),
            "claims": len(rows),
            "seed": SEED,
            "cross_validated_accuracy": round(accuracy, 3),
        },
        "labels": list(map(str, regression.classes_)),
        "intercepts": np.round(regression.intercept_, DECIMALS).tolist(),
        "idf": dict(zip(names, np.round(tfidf.idf_, DECIMALS).tolist(), strict=True)),
        "weights": dict(zip(names, np.round(regression.coef_.T, DECIMALS).tolist(), strict=True)),
    }
    target.write_text(json.dumps(model, ensure_ascii=False, separators=(",", ":"), sort_keys=True), encoding="utf-8")
    print(f"{len(rows)} claims, {len(names)} features, cross-validated accuracy {accuracy:.3f}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
