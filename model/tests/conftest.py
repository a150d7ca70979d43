from __future__ import annotations

import os
from pathlib import Path

import pytest
from entrenamiento.claims import Claim, hand_written

MODEL = Path(__file__).resolve().parent.parent
PACKAGE = MODEL / "salida" / "paquete"
DATA = Path(os.environ.get("MODELO_DATOS", MODEL.parent / "data"))


@pytest.fixture(scope="session")
def evaluation() -> list[Claim]:
    return hand_written(DATA / "evaluacion" / "reclamaciones.csv")
