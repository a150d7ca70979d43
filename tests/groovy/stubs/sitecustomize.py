"""The real steps without the outside world, in every process that has this folder on its PYTHONPATH.

Each keeps its declaration; what it does is ``do/STEP.py`` of the project, with the step's context as ``ctx``, whose
``result`` are the outputs. The command line, plan, ledger and errors are the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline_tools import steps
from pipeline_tools.step import Context, Step


def _do(name: str) -> Any:
    def run(ctx: Context[Any]) -> Any:
        names: dict[str, Any] = {"ctx": ctx, "result": {}}
        file = ctx.project / f"do/{name}.py"
        if file.exists():
            exec(compile(file.read_text(), name, "exec"), names)
        return names["result"]

    return run


_REGISTRY: Mapping[str, Step[Any]] = {
    name: replace(
        step,
        run=_do(name),
        reads=lambda _, name=name: (f"do/{name}.py",),  # type: ignore[misc]
        tools=(),
        still_there=None,
        memory=2**20,
    )
    for name, step in steps.registry().items()
}
steps.registry = lambda: _REGISTRY  # type: ignore[assignment]
