"""The steps, one module each. A new step is a new module here and a line in `MODULES`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from pipeline_tools.step import Step

# In the order in which a pipeline runs them.
MODULES = (
    "test",
    "check",
    "evaluate",
    "promote",
    "export",
    "publish",
    "pin",
    "scan",
    "image",
    "chart",
    "deploy",
    "verify",
)


@cache
def registry() -> dict[str, Step[Any]]:
    """Every step by its name."""
    steps = (import_module(f"pipeline_tools.steps.{module}").STEP for module in MODULES)
    return {step.name: step for step in steps}
