"""What must be true of curated claims, as a pandera schema: a breach is a defect of ours, and stops the transform."""

from __future__ import annotations

import re

import pandera.polars as pa
import polars as pl

from datos.clean import LEAST_LETTERS, MOST_CHARACTERS, PERSONAL
from datos.labels import LABELS, SEPARATOR

_LABEL = "(?:" + "|".join(LABELS) + ")"


class Curated(pa.DataFrameModel):
    """A claim that a model may be trained on or tested with."""

    id: int = pa.Field(unique=True, ge=0)
    fuente: str = pa.Field(isin=["siniestros", "formulario", "notas", "revisadas"])
    origen: str = pa.Field(str_matches=r"^.+:\d+$")
    texto: str = pa.Field(str_length={"min_value": LEAST_LETTERS, "max_value": MOST_CHARACTERS})
    etiquetas: str = pa.Field(str_matches=rf"^{_LABEL}(?:{re.escape(SEPARATOR)}{_LABEL})*$")
    grupo: int = pa.Field(ge=0)
    particion: str = pa.Field(isin=["train", "test"])
    corregida: bool

    class Config:
        """Exactly these columns, of exactly these types."""

        strict = True

    @pa.check("texto", name="no personal data that a pattern can tell")
    @classmethod
    def impersonal(cls, data: pa.PolarsData) -> pl.LazyFrame:
        """No address of e-mail, no number of six digits."""
        return data.lazyframe.select(~pl.col(data.key).str.contains(PERSONAL))
