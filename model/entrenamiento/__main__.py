"""``python -m entrenamiento``: train, stamp, evaluate.

Exit codes: 0 passed, 2 usage, 3 worse than the champion beyond noise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from clasificador_modelo import classify

from entrenamiento.claims import Claim, curated, hand_written
from entrenamiento.evaluate import evaluate, installed, measure, page
from entrenamiento.train import SEED, Trained, choose, files, fit

QUALITY = 3
USAGE = 2
PACKAGE = "clasificador_modelo"
GOLDEN = (
    "bañera",
    "enchufe",
    "armario",
    "cerradura",
    "espejo",
    "grieta",
    "pintar",
    "caldera",
    "lavadora",
    "persiana",
    "el grifo de la cocina gotea sin parar",
    "el enchufe echa chispas",
    "la persiana no sube",
    "",
)
GOLDEN_A_LABEL = 3


def main(argv: list[str] | None = None) -> int:
    """Run one of the programs."""
    parser = argparse.ArgumentParser(prog="entrenamiento", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train", help="write the model's data files into the package")
    one.add_argument("--claims", type=Path, required=True, help="curadas.parquet")
    one.add_argument("--evaluation", type=Path, required=True, help="hand-written claims, CSV")
    one.add_argument("--package", type=Path, required=True, help="folder that holds the package; its files are written")
    one = commands.add_parser("stamp", help="write version and commits into a trained package")
    one.add_argument("--package", type=Path, required=True, help="folder that holds the package")
    one.add_argument("--version", required=True)
    one.add_argument("--data-commit", required=True)
    one.add_argument("--code-commit", required=True)
    one = commands.add_parser("evaluate", help="evaluacion.html and evaluacion.json")
    one.add_argument("--model", type=Path, required=True, help="wheel, or folder that holds the package")
    one.add_argument("--evaluation", type=Path, required=True, help="hand-written claims, CSV")
    one.add_argument("--champion", type=Path, help="wheel of the model that is in use")
    one.add_argument("--out", type=Path, required=True, help="folder of the report")
    options = parser.parse_args(argv)
    for name in ("evaluation", "claims", "champion"):
        given = getattr(options, name, None)
        if given is not None and not given.is_file():
            print(f"entrenamiento: there is no {given}", file=sys.stderr)  # noqa: T201
            return USAGE
    return {"train": _train, "stamp": _stamp, "evaluate": _evaluate}[options.command](options)


def _train(options: argparse.Namespace) -> int:
    training, test = curated(options.claims)
    evaluation = hand_written(options.evaluation)
    package = options.package / PACKAGE
    choice = choose(training)
    # first without the test claims, so that they tell something; then with all
    _write(fit(training, choice), package)
    held_out = measure(test, installed(options.package)([claim.text for claim in test]))
    final = fit(training + test, choice)
    _write(final, package)
    model = installed(options.package)
    figures, _ = evaluate(model, evaluation, None)
    about = {
        "data": {
            "claims": len(training) + len(test),
            "reviewed": sum(claim.reviewed for claim in training + test),
            "sha256": hashlib.sha256(options.claims.read_bytes()).hexdigest(),
        },
        "training": {
            "chosen": f"{choice.candidate.name}, {choice.candidate.strength:g}",
            "cross_validation": choice.scores,
            "features": int((final.idf > 0).sum()),
            "seed": SEED,
            "libraries": {name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
        },
        "metrics": {
            "hand_written": _figures(figures),
            "worn": _figures(figures["worn"]["no accents and one word in five mistyped"]),
            "held_out": _figures(held_out),
        },
    }
    _json(package / "linaje.json", about)
    _json(package / "doradas.json", _golden(test))
    print(json.dumps(about["metrics"], ensure_ascii=False))  # noqa: T201
    return 0


def _stamp(options: argparse.Namespace) -> int:
    """Version and commits in what is told of a trained model: other commits of the same files train nothing new."""
    package = options.package / PACKAGE
    about = _about(options.package)
    about |= {"version": options.version, "code": {"commit": options.code_commit}}
    about["data"]["commit"] = options.data_commit
    model = json.loads((package / "modelo.json").read_text(encoding="utf-8"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "plantillas"),
        autoescape=False,  # noqa: S701  (Markdown)
        keep_trailing_newline=True,
    )
    card = environment.get_template("ficha.md").render(about=about, labels=model["labels"], least=model["least"])
    _json(package / "linaje.json", about)
    (package / "ficha.md").write_text(card, encoding="utf-8")
    (options.package / "VERSION").write_text(f"{options.version}\n", encoding="utf-8")
    return 0


def _figures(found: dict[str, Any]) -> dict[str, float]:
    names = ("claims", "top1", "top2", "macro_f1", "calibration_error")
    return {name: round(found[name], 4) for name in names if name in found}


def _write(model: Trained, package: Path) -> None:
    about, table = files(model)
    _json(package / "modelo.json", about)
    (package / "modelo.tabla").write_bytes(table)


def _json(file: Path, value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    file.write_text(text + "\n", encoding="utf-8")


def _golden(test: list[Claim]) -> list[dict[str, Any]]:
    """What the model answers to `GOLDEN` and to some claims of each label."""
    chosen = list(GOLDEN)
    for label in sorted({claim.labels[0] for claim in test}):
        chosen += [claim.text for claim in test if claim.labels[0] == label][:GOLDEN_A_LABEL]
    return [
        {"text": text, "tokens": [[token.token, token.score] for token in classify(text).tokens]} for text in chosen
    ]


def _evaluate(options: argparse.Namespace) -> int:
    champion = installed(options.champion) if options.champion else None
    found, compared = evaluate(installed(options.model), hand_written(options.evaluation), champion)
    options.out.mkdir(parents=True, exist_ok=True)
    _json(options.out / "evaluacion.json", found)
    page(found, _about(options.model), options.out / "evaluacion.html")
    worn = found["worn"]["no accents and one word in five mistyped"]
    print(  # noqa: T201
        f"{found['claims']} claims: top-1 {found['top1']:.1%}, top-2 {found['top2']:.1%}, "
        f"macro F1 {found['macro_f1']:.3f}\nno accents and one word in five mistyped: top-1 {worn['top1']:.1%}"
    )
    if compared:
        print(  # noqa: T201
            f"champion {compared.champion:.1%}: {compared.won} won, {compared.lost} lost, p = {compared.p_value:.3g}; "
            f"{'worse beyond noise' if compared.worse else 'not worse'}"
        )
    print(options.out / "evaluacion.html")  # noqa: T201
    return QUALITY if compared and compared.worse else 0


def _about(model: Path) -> dict[str, Any]:
    """The metadata inside ``model``."""
    import zipfile

    name = f"{PACKAGE}/linaje.json"
    if model.is_dir():
        text = (model / name).read_bytes()
    else:
        with zipfile.ZipFile(model) as wheel:
            text = wheel.read(name)
    about: dict[str, Any] = json.loads(text)
    return about


if __name__ == "__main__":
    sys.exit(main())
