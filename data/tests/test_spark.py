from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import curate
from datos import generate
from datos.spark import session, transform
from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("default")  # what Spark's own code warns of is not ours to mend


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    found = session(master="local[2]", ui_enabled="false", sql_shuffle_partitions="2", driver_bindAddress="127.0.0.1")
    yield found
    found.stop()


def test_spark_gives_the_rows_of_the_single_machine(spark: SparkSession, tmp_path: Path) -> None:
    _, curated, rejected = curate(tmp_path, [(claim.text, claim.labels) for claim in generate.claims(500)])
    assert curated
    assert rejected
    transform(spark, str(tmp_path / "extraidas.parquet"), str(tmp_path / "spark"))
    for name, key, expected in (("curadas", "id", curated), ("rechazadas", "origen", rejected)):
        table = pq.read_table(tmp_path / "spark" / name).sort_by(key)
        assert sorted(table.to_pylist(), key=str) == sorted(expected, key=str)
