from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datos.extract import CLAIMS, extract
from datos.transform import Transformed, transform
from hypothesis import settings

# How long an example may take depends on what else the machine does.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

DATA = Path(__file__).resolve().parent.parent
HEADER = "num_siniestro;fecha;asegurado;telefono;descripcion;gremio"


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed sources, extracted and transformed."""
    out = tmp_path_factory.mktemp("results")
    extract(DATA / "fuentes", out)
    transform(out / "extraidas.parquet", out)
    return out


def form_row(text: str, *labels: str, name: str = "Ana Puig Sanz", phone: str = "600011122") -> str:
    who = {"nombre": name, "correo": "ana@correo.example", "telefono": phone}
    row = {"id": "W1", "recibido": "2026-01-01T10:00:00", "contacto": who, "mensaje": text, "gremios": list(labels)}
    return json.dumps(row, ensure_ascii=False)


def curate(
    folder: Path, rows: list[tuple[str, str]]
) -> tuple[Transformed, list[dict[str, object]], list[dict[str, object]]]:
    """Transform rows of text and trades; what came of it, the curated rows and the rejected ones."""
    table = pa.table(
        {
            "id": list(range(len(rows))),
            "fuente": ["notas"] * len(rows),
            "origen": [f"notas/a.txt:{line}" for line in range(len(rows))],
            "texto": [text for text, _ in rows],
            "gremios": [labels for _, labels in rows],
        },
        schema=CLAIMS,
    )
    pq.write_table(table, folder / "extraidas.parquet")
    told = transform(folder / "extraidas.parquet", folder)
    curated, rejected = (pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("curadas", "rechazadas"))
    return told, curated, rejected
