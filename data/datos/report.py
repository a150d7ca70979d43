"""What the claims are like, what was left out and why, how they moved since another version: a page and a summary."""

from __future__ import annotations

import io
import json
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import polars as pl

from datos.labels import LABELS, SEPARATOR

mpl.use("svg")
from matplotlib import pyplot as plt

# What the checks ask. Population stability index: below 0.1 is no change, above 0.25 another population (N. Siddiqi,
# "Credit Risk Scorecards", 2006).
LEAST_LABEL_SHARE = 0.04
MOST_UNUSABLE_SHARE = 0.05
MOST_REPEATED_SHARE = 0.4
MOST_DRIFT = 0.25
EXAMPLES = 8

_BLUE, _GREY, _ORANGE = "#2f6f9f", "#b8c4cc", "#d9822b"
_LENGTHS = (0, 20, 40, 60, 80, 120, 160, 240, 2000)


def report(out: Path, previous: Path | None = None) -> list[str]:
    """Write ``out``/informe.html and ``out``/resumen.json from the results in ``out``; what checks failed, in words.

    ``previous`` is a folder of results of another version. Raises `FileNotFoundError` when results are missing.
    """
    summary = summarise(out)
    drift = _drift(summarise(previous), summary) if previous else None
    checks = _checks(summary, drift)
    failed = [check["what"] for check in checks if not check["passed"]]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("datos"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("informe.html").render(
        summary=summary,
        drift=drift,
        checks=checks,
        failed=failed,
        examples=_examples(out),
        plots=_plots(summary, drift),
    )
    (out / "informe.html").write_text(page, encoding="utf-8")
    (out / "resumen.json").write_text(
        json.dumps({**summary, "drift": drift, "failed": failed}, ensure_ascii=False, indent=1, sort_keys=True) + "\n",
        encoding="utf-8",
    )
    return failed


def summarise(out: Path) -> dict[str, Any]:
    """Counts of the results in ``out``; streamed, so of any size.

    Keys: ``extracted``, ``curated``, ``corrected``, ``groups``, ``several`` (claims of several trades) are counts;
    ``sources``, ``aside``, ``rejected``, ``labels``, ``partitions``, ``lengths``, ``words`` map names to counts.
    """
    files = {name: out / f"{name}.parquet" for name in ("extraidas", "apartadas", "curadas", "rechazadas")}
    for file in files.values():
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there: run extract and transform first")
    extracted, aside, curated, rejected = (pl.scan_parquet(file) for file in files.values())
    labels = curated.select(pl.col("etiquetas").str.split(SEPARATOR).list.first().alias("etiqueta"), "particion")
    words = curated.select(pl.col("texto").str.to_lowercase().str.extract_all(r"\p{L}{3,}").explode().alias("palabra"))
    lengths = dict.fromkeys(_length_names(), 0)
    for length, count in _counts(curated.select(pl.col("texto").str.len_chars().alias("largo")), "largo").items():
        lengths[_length_names()[bisect_left(_LENGTHS, int(length)) - 1]] += count
    totals = curated.select(
        pl.len(),
        pl.col("corregida").sum(),
        pl.col("grupo").n_unique(),
        pl.col("etiquetas").str.contains(SEPARATOR, literal=True).sum().alias("varias"),
    ).collect(engine="streaming")
    number, corrected, groups, several = totals.row(0)
    unread = _counts(aside, "fuente").keys() - _counts(extracted, "fuente").keys()
    return {
        "extracted": extracted.select(pl.len()).collect(engine="streaming").item(),
        "curated": number,
        "corrected": corrected,
        "groups": groups,
        "several": several,
        # a source of which no row could be read is there with none
        "sources": _counts(extracted, "fuente") | dict.fromkeys(sorted(unread), 0),
        "aside": _counts(aside, "motivo"),
        "rejected": _counts(rejected, "motivo"),
        "labels": dict.fromkeys(LABELS, 0) | _counts(labels, "etiqueta"),
        "test_labels": dict.fromkeys(LABELS, 0) | _counts(labels.filter(pl.col("particion") == "test"), "etiqueta"),
        "partitions": _counts(curated, "particion"),
        "lengths": lengths,
        "words": dict(list(_counts(words, "palabra").items())[:2000]),
    }


def _length_names() -> list[str]:
    return [f"{low + 1}–{high}" for low, high in pairwise(_LENGTHS)]


def _counts(frame: pl.LazyFrame, column: str) -> dict[str, int]:
    """How often each value occurs, the commonest first; ties by name."""
    counted = frame.drop_nulls(column).group_by(column).len().sort("len", column, descending=[True, False])
    return dict(counted.collect(engine="streaming").rows())


def stability(before: dict[str, int], after: dict[str, int]) -> float:
    """The population stability index of two distributions over the same names; half a case is added to each count."""
    names = sorted(before.keys() | after.keys())
    first, second = (np.array([counts.get(name, 0) + 0.5 for name in names]) for counts in (before, after))
    first, second = first / first.sum(), second / second.sum()
    return float(np.sum((second - first) * np.log(second / first)))


def _drift(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    indices = {name: round(stability(before[name], after[name]), 4) for name in ("labels", "sources", "lengths")}
    common = [word for word, count in (before["words"] | after["words"]).items() if count >= 20]
    old, new = (sum(side["words"].values()) or 1 for side in (before, after))
    ratios = {
        word: (after["words"].get(word, 0) / new * 1e4, before["words"].get(word, 0) / old * 1e4) for word in common
    }
    moved = sorted(ratios.items(), key=lambda item: (-abs(item[1][0] - item[1][1]), item[0]))[:12]
    return {
        "indices": indices,
        "curated_before": before["curated"],
        "labels_before": before["labels"],
        "words": [{"word": word, "now": now, "before": then} for word, (now, then) in moved if now != then],
    }


def _checks(summary: dict[str, Any], drift: dict[str, Any] | None) -> list[dict[str, Any]]:
    curated, seen = summary["curated"], summary["extracted"] + sum(summary["aside"].values())
    repeated = summary["rejected"].get("casi duplicada", 0)
    unusable = sum(summary["aside"].values()) + sum(summary["rejected"].values()) - repeated
    least = min(summary["labels"], key=lambda label: summary["labels"][label])
    fewest = min(summary["sources"].values(), default=0)
    share = summary["labels"][least] / curated if curated else 0.0
    found = [
        ("there are curated claims", float(curated), 1.0, curated >= 1),
        ("rows of the source that gave fewest, at least", float(fewest), 1.0, fewest >= 1),
        (f"share of the rarest label, {least}, at least", share, LEAST_LABEL_SHARE, share >= LEAST_LABEL_SHARE),
        (
            "share of unusable rows at most",
            unusable / seen,
            MOST_UNUSABLE_SHARE,
            unusable / seen <= MOST_UNUSABLE_SHARE,
        ),
        (
            "share of repeated rows at most",
            repeated / seen,
            MOST_REPEATED_SHARE,
            repeated / seen <= MOST_REPEATED_SHARE,
        ),
    ]
    for name, value in (drift["indices"] if drift else {}).items():
        found.append((f"drift of {name} at most", value, MOST_DRIFT, value <= MOST_DRIFT))
    return [{"what": what, "value": value, "limit": limit, "passed": passed} for what, value, limit, passed in found]


def _examples(out: Path) -> dict[str, list[dict[str, str]]]:
    """The first rows that were left out for each reason."""
    rows: dict[str, list[dict[str, str]]] = {}
    for name in ("apartadas", "rechazadas"):
        frame = pl.scan_parquet(out / f"{name}.parquet")
        for reason in sorted(_counts(frame, "motivo")):
            some = frame.filter(pl.col("motivo") == reason).sort("origen").head(EXAMPLES).collect(engine="streaming")
            rows[reason] = some.select("origen", "detalle").to_dicts()
    return rows


def _plots(summary: dict[str, Any], drift: dict[str, Any] | None) -> dict[str, str]:
    labels = list(LABELS)
    height = np.arange(len(labels))
    with plt.rc_context(
        {"svg.hashsalt": "datos", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        balance, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
        test = np.array([summary["test_labels"][label] for label in labels])
        train = np.array([summary["labels"][label] for label in labels]) - test
        axes.barh(height, train, color=_BLUE, label="train")
        axes.barh(height, test, left=train, color=_GREY, label="test")
        if drift:
            before = [drift["labels_before"][label] for label in labels]
            axes.scatter(before, height, color=_ORANGE, zorder=3, s=18, label="previous version")
        axes.set_yticks(height, labels)
        axes.invert_yaxis()
        axes.set_xlabel("claims whose first trade it is")
        axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        lengths, axes = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
        axes.bar(list(summary["lengths"]), list(summary["lengths"].values()), color=_BLUE)
        axes.set_xlabel("characters")
        axes.set_ylabel("claims")
        return {"balance": _svg(balance), "lengths": _svg(lengths)}


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
