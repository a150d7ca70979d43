"""Extracted rows → curated claims: cleaned, near-duplicates out, labels settled, split for training and test.

The rows go through in batches; only a batch is in memory. The grouping is DuckDB's, in a file beside the result,
under a limit of memory beyond which it spills to disk.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from datos.clean import CLEANED, clean
from datos.extract import ASIDE, BATCH
from datos.grouping import group
from datos.schema import Curated

MEMORY = "1GB"

CURATED = (
    "SELECT f.id AS id, f.fuente AS fuente, f.origen AS origen, f.texto AS texto, d.final AS etiquetas, "
    "d.grupo AS grupo, d.particion AS particion, d.corregida AS corregida FROM filas f JOIN decididas d ON f.id = d.id "
    "WHERE d.igual = f.id AND d.final IS NOT NULL"
)
REJECTED = (
    "SELECT f.fuente AS fuente, f.origen AS origen, "
    "CASE WHEN d.final IS NULL THEN 'etiquetas en conflicto' ELSE 'casi duplicada' END AS motivo, "
    "concat('de ', p.origen, ': ', substr(f.texto, 1, 80)) AS detalle FROM filas f JOIN decididas d ON f.id = d.id "
    "JOIN filas p ON p.id = d.igual WHERE d.final IS NULL OR d.igual <> f.id"
)


class DuckDB:
    """The engine of one machine: out of core, in a database file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection

    def create(self, name: str, query: str) -> None:
        """As `grouping.Engine` has it."""
        self.connection.execute(f"CREATE OR REPLACE TABLE {name} AS {query}")

    def number(self, query: str) -> int:
        """As `grouping.Engine` has it."""
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


@dataclass(frozen=True, kw_only=True)
class Transformed:
    """How many rows became what; every extracted row is counted once."""

    curated: int
    rejected: dict[str, int]
    corrected: int


def transform(extracted: Path, out: Path, *, memory: str = MEMORY, processes: int | None = None) -> Transformed:
    """Write ``out``/curadas.parquet and ``out``/rechazadas.parquet from ``extracted`` (`extract.CLAIMS`).

    ``memory`` is DuckDB's limit, as DuckDB writes it; the batches need some 300 MB a process beside it.
    Raises pandera's `SchemaErrors` when a curated claim is not what `schema.Curated` says.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".transform-") as folder:
        scratch = Path(folder)
        _clean_all(extracted, scratch, processes or os.cpu_count() or 1)
        with duckdb.connect(scratch / "grupos.duckdb") as connection:
            connection.execute(f"SET memory_limit='{memory}'; SET preserve_insertion_order=false")
            connection.execute(f"SET temp_directory='{scratch}'")
            connection.execute(f"CREATE VIEW filas AS SELECT * FROM '{scratch}/filas-*.parquet'")
            group(DuckDB(connection))
            _write_curated(connection, out / "curadas.parquet")
            reasons = f"SELECT * FROM '{scratch}/motivos-*.parquet' UNION ALL {REJECTED}"
            connection.execute(f"COPY ({reasons} ORDER BY origen, motivo) TO '{out}/rechazadas.parquet'")
            counted = connection.execute(
                f"SELECT motivo, count(*) FROM '{out}/rechazadas.parquet' GROUP BY 1 ORDER BY 1"
            )
            rejected = dict(counted.fetchall())
            total = connection.execute(f"SELECT count(*), sum(corregida::INT) FROM '{out}/curadas.parquet'").fetchone()
    assert total is not None
    return Transformed(curated=int(total[0]), rejected=rejected, corrected=int(total[1] or 0))


def _clean_all(extracted: Path, scratch: Path, processes: int) -> None:
    """The row groups of ``extracted``, each cleaned into files of its own, side by side when there are several."""
    parts = range(pq.ParquetFile(extracted).num_row_groups)
    if len(parts) < 2:
        for part in parts:
            _clean_part(extracted, scratch, part)
        return
    # spawned, because Polars' threads do not survive a fork
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for done in [pool.submit(_clean_part, extracted, scratch, part) for part in parts]:
            done.result()


def _clean_part(extracted: Path, scratch: Path, part: int) -> None:
    rows = scratch / f"filas-{part:06}.parquet"
    reasons = scratch / f"motivos-{part:06}.parquet"
    with pq.ParquetWriter(rows, CLEANED) as good, pq.ParquetWriter(reasons, ASIDE) as bad:
        for batch in pq.ParquetFile(extracted).iter_batches(BATCH, row_groups=[part]):
            kept, dropped = clean(pa.Table.from_batches([batch]))
            good.write_table(kept)
            bad.write_table(dropped)


def _write_curated(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """The curated claims in the order of their ids, each batch checked before it is written."""
    reader = connection.sql(f"{CURATED} ORDER BY f.id").to_arrow_reader(BATCH)
    with pq.ParquetWriter(file, reader.schema) as writer:
        for batch in reader:
            Curated.validate(pl.DataFrame(pl.from_arrow(batch)), lazy=True)
            writer.write_batch(batch)
