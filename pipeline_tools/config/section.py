"""What every section of the configuration is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from pipeline_tools.secrets import REFERENCE_PATTERN
from pipeline_tools.step import Form

REFERENCE = Form(REFERENCE_PATTERN, "must be a reference: env:NAME, file:PATH or secret:NAMESPACE/NAME/KEY")
Reference = Annotated[str, REFERENCE]


class Section(BaseModel):
    """A section refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)
