"""The versions of the programs that steps call: another version may give another result."""

from __future__ import annotations

import platform
from functools import cache

from pipeline_tools.systems import helm


@cache
def version(name: str) -> str:
    """The version of a program, asked once.

    Raises:
        ToolMissing: it is not installed.
    """
    return {"helm": helm.version, "python": platform.python_version}[name]()
