"""The process that steps' processes are forked from imports this: all that each of them would have to import itself."""

from __future__ import annotations

import os

from pipeline_tools import worker
from pipeline_tools.config import schema

__all__ = ["worker"]

schema.model()  # with it every step

# Whoever reads our output must not wait for this process, which outlives us until the last step has cleaned up.
_NOWHERE = os.open(os.devnull, os.O_WRONLY)
os.dup2(_NOWHERE, 1)
os.dup2(_NOWHERE, 2)
os.close(_NOWHERE)
