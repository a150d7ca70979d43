"""The transform of `data/` on many rows, beside a plain Polars script that does the same: rows/s and peak memory.

Run it in the environment of the data: ``PYTHONPATH=data python benchmarks/claims.py [ROWS [FOLDER [NAME...]]]``,
NAME is transform, plain (both without it; plain holds 5.6 GB for a million rows, so 10 million are for transform
alone, and take some 10 GB of disk) or spark (Spark's local mode, in the environment of `data/ejecutar.sh test-all`).
Each runs in a process of its own; its memory is the most that it and its children held together, read every tenth of a
second from /proc (proportional set size, so what they share counts once).
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from datos import generate
from datos.clean import clean
from datos.extract import BATCH, CLAIMS
from datos.grouping import NEAR, SAME, TEST_SHARE
from datos.signatures import BANDS, SKETCH
from datos.transform import transform

DISTINCT = 20_000
REPEATED = 0.3


def make(rows: int, file: Path) -> None:
    """Write ``rows`` extracted rows: claims with six words of their own each, a third told again."""
    rng = random.Random(1)
    base = [(claim.text, claim.labels) for claim in generate.claims(DISTINCT)]
    words = sorted({word for text, _ in base for word in text.split() if word.isalpha()})
    recent: list[tuple[str, str]] = []
    with pq.ParquetWriter(file, CLAIMS) as writer:
        for start in range(0, rows, BATCH):
            numbers = list(range(start, min(start + BATCH, rows)))
            found: list[tuple[str, str]] = []
            for _ in numbers:
                if recent and rng.random() < REPEATED:
                    text, labels = rng.choice(recent)
                    at = rng.randrange(len(text))
                    found.append((text[:at] + text[at + 1 :], labels))
                else:
                    text, labels = rng.choice(base)
                    found.append((f"{text} {' '.join(rng.choices(words, k=6))}", labels))
            recent = found[-2000:]
            writer.write_table(
                pa.table(
                    {
                        "id": numbers,
                        "fuente": ["notas"] * len(numbers),
                        "origen": [f"notas/a.txt:{number}" for number in numbers],
                        "texto": [text for text, _ in found],
                        "gremios": [labels for _, labels in found],
                    },
                    schema=CLAIMS,
                )
            )


def plain(extracted: Path, out: Path) -> None:
    """The same in Polars alone, as one would write it first: the whole table, then joins."""
    kept, _ = clean(pl.read_parquet(extracted).to_arrow().cast(CLAIMS))
    rows = pl.DataFrame(pl.from_arrow(kept))
    keys = pl.concat(
        rows.select("id", "boceto", pl.col(f"banda{band}").alias("clave"), pl.lit(band).alias("banda"))
        for band in range(BANDS)
    )
    first = keys.group_by("banda", "clave").agg(
        pl.col("id").min().alias("primera"), pl.col("boceto").sort_by("id").first().alias("suyo"), pl.len()
    )
    pairs = keys.join(first.filter(pl.col("len") > 1), on=["banda", "clave"]).filter(pl.col("id") != pl.col("primera"))
    pairs = pairs.group_by("id", "primera").agg(
        (pl.col("boceto") ^ pl.col("suyo")).bitwise_count_ones().min().alias("bits")
    )
    for name, similarity in (("igual", SAME), ("grupo", NEAR)):
        edges = pairs.filter(pl.col("bits") <= int((1 - similarity) * SKETCH / 2)).select("id", "primera")
        roots = (
            pl.concat([edges.select("id", raiz="primera"), edges.select(id="primera", raiz="primera")])
            .group_by("id")
            .agg(pl.col("raiz").min())
        )
        while True:
            following = (
                pl.concat(
                    [
                        roots,
                        edges.join(roots, left_on="primera", right_on="id").select("id", "raiz"),
                        edges.join(roots, on="id").select(id="primera", raiz="raiz"),
                        roots.join(roots, left_on="raiz", right_on="id").select("id", raiz="raiz_right"),
                    ]
                )
                .group_by("id")
                .agg(pl.col("raiz").min())
            )
            moved = following.join(roots, on="id").filter(pl.col("raiz") != pl.col("raiz_right")).height
            roots = following
            if not moved:
                break
        rows = rows.join(roots.rename({"raiz": name}), on="id", how="left").with_columns(
            pl.col(name).fill_null(pl.col("id"))
        )
    votes = rows.group_by("igual", "etiquetas").len()
    best = votes.filter(pl.col("len") == pl.col("len").max().over("igual"))
    final = best.group_by("igual").agg(pl.when(pl.len() == 1).then(pl.col("etiquetas").first()).alias("final"))
    rows = rows.join(final, on="igual").join(rows.select(grupo="id", suyo="corte"), on="grupo")
    decided = rows.with_columns(
        particion=pl.when(pl.col("suyo") < TEST_SHARE).then(pl.lit("test")).otherwise(pl.lit("train"))
    )
    good = decided.filter((pl.col("igual") == pl.col("id")) & pl.col("final").is_not_null()).sort("id")
    good.select(
        "id", "fuente", "origen", "texto", etiquetas="final", grupo="grupo", particion="particion"
    ).write_parquet(out / "curadas.parquet")
    bad = decided.filter((pl.col("igual") != pl.col("id")) | pl.col("final").is_null())
    bad.select("origen", "igual").write_parquet(out / "rechazadas.parquet")


def spark(extracted: Path, out: Path) -> None:
    """The same on Spark in its local mode: what a cluster would run, on the cores of this machine."""
    from datos import spark

    settings = {"master": "local[*]", "ui_enabled": "false", "ui_showConsoleProgress": "false"}
    with spark.session(**settings, driver_bindAddress="127.0.0.1") as session:
        spark.transform(session, str(extracted), str(out / "spark"))
    for name in ("curadas", "rechazadas"):
        pq.write_table(pq.read_table(out / "spark" / name), out / f"{name}.parquet")


def measured(argv: list[str]) -> tuple[float, float, str]:
    """Seconds, peak megabytes and the last line of output of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, *argv], stdout=subprocess.PIPE, text=True)
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], sum(map(_megabytes, _tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - begun
    done.set()
    watcher.join()
    if process.returncode:
        return seconds, peak[0], f"failed with {process.returncode}"
    return seconds, peak[0], output.strip().splitlines()[-1]


def _tree(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _megabytes(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Make the rows and run both."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        file = Path(folder) / "extraidas.parquet"
        make(rows, file)
        print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB of Parquet")
        for name in sys.argv[3:] or ("transform", "plain"):
            seconds, peak, said = measured(["--run", name, str(file), folder])
            print(
                f"{name:10} {rows / seconds:10,.0f} rows/s {peak:8,.0f} MB at most {seconds:8.1f} s   {said}",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run = {"transform": transform, "plain": plain, "spark": spark}[sys.argv[2]]
        source, out = Path(sys.argv[3]), Path(sys.argv[4])
        run(source, out)
        print(json.dumps({"curated": pq.read_metadata(out / "curadas.parquet").num_rows}))
    else:
        main()
