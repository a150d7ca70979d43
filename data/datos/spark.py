"""The transform on Apache Spark: the same `clean`, the same statements of `grouping`, on as many machines as Spark has.

``python -m datos.spark EXTRACTED OUT`` runs it; without a master set (``--master`` of spark-submit, or
``spark.master``), on this machine with all its cores. Needs ``requirements-spark.txt`` and Java 17 or newer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from datos.clean import CLEANED, clean
from datos.extract import ASIDE, BATCH
from datos.grouping import group
from datos.transform import CURATED, REJECTED


class Spark:
    """The engine of many machines: each step's result is kept as Parquet, so that no plan grows with the steps."""

    def __init__(self, session: SparkSession, folder: str) -> None:
        self.session = session
        self._folder = folder
        self._written = 0

    def create(self, name: str, query: str) -> None:
        """As `grouping.Engine` has it."""
        self._written += 1
        path = f"{self._folder}/{self._written:03}-{name}"
        self.session.sql(query).write.mode("overwrite").parquet(path)
        self.session.read.parquet(path).createOrReplaceTempView(name)

    def number(self, query: str) -> int:
        """As `grouping.Engine` has it."""
        return int(self.session.sql(query).collect()[0][0])


def transform(session: SparkSession, extracted: str, out: str) -> None:
    """Write ``out``/curadas and ``out``/rechazadas, folders of Parquet with the rows of `transform.transform`.

    ``extracted`` and ``out`` are paths that every machine reaches.
    """
    rows = session.read.parquet(extracted)
    work = f"{out}/.pasos"
    rows.mapInArrow(_kept, _ddl(CLEANED)).write.mode("overwrite").parquet(f"{work}/filas")
    rows.mapInArrow(_dropped, _ddl(ASIDE)).write.mode("overwrite").parquet(f"{work}/motivos")
    session.read.parquet(f"{work}/filas").createOrReplaceTempView("filas")
    session.read.parquet(f"{work}/motivos").createOrReplaceTempView("motivos")
    group(Spark(session, work))
    session.sql(CURATED).write.mode("overwrite").parquet(f"{out}/curadas")
    session.sql(f"SELECT * FROM motivos UNION ALL {REJECTED}").write.mode("overwrite").parquet(f"{out}/rechazadas")


def _kept(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from clean(pa.Table.from_batches([batch]))[0].to_batches()


def _dropped(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield from clean(pa.Table.from_batches([batch]))[1].to_batches()


def _ddl(schema: pa.Schema) -> str:
    """``schema`` as Spark declares columns."""
    return ", ".join(f"{field.name} {'bigint' if field.type == pa.int64() else 'string'}" for field in schema)


def session(**settings: str) -> SparkSession:
    """A session with ``settings`` (dots of Spark's names as `_`); spark-submit's own settings are taken as they are."""
    # the workers' Python; a cluster sets its own
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder: SparkSession.Builder = SparkSession.builder.appName("datos")
    builder = builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH)
    for name, value in settings.items():
        builder = builder.config(f"spark.{name.replace('_', '.')}", value)
    return builder.getOrCreate()


if __name__ == "__main__":
    transform(session(), str(Path(sys.argv[1]).resolve()), str(Path(sys.argv[2]).resolve()))
