"""Steps for tests, put in the place of the real ones in every process that has this folder on its PYTHONPATH.

first → left and right → last. What a step does is a file of the project, ``do/STEP.py``, which is all that it reads,
besides a word of the configuration: it is executed with the step's context as ``ctx``, and what it leaves in ``result``
are the outputs. What a step has left outside is there until the project has a file ``STEP is gone``.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipeline_tools import steps
from pipeline_tools.step import Context, Step, StepInputs


class Inputs(StepInputs):
    """What a step can be told."""

    word: str = Field("", description="Any word.")


def _do(name: str) -> Any:
    def run(ctx: Context[Any]) -> Any:
        names: dict[str, Any] = {"ctx": ctx, "result": {}}
        exec(compile((ctx.project / f"do/{name}.py").read_text(), name, "exec"), names)
        return names["result"]

    return run


NEEDS: dict[str, tuple[str, ...]] = {"first": (), "left": ("first",), "right": ("first",), "last": ("left", "right")}
_REGISTRY: dict[str, Step[Any]] = {
    name: Step(
        name=name,
        summary=f"do {name}",
        stage=name,
        inputs=Inputs,
        outputs={},
        example="",
        run=_do(name),
        reads=lambda _, name=name: (f"do/{name}.py",),  # type: ignore[misc]
        needs=needs,
        uses=needs,
        still_there=lambda ctx, _, name=name: not (ctx.project / f"{name} is gone").exists(),  # type: ignore[misc]
    )
    for name, needs in NEEDS.items()
}
steps.registry = lambda: _REGISTRY  # type: ignore[assignment]

from pipeline_tools import plan  # noqa: E402  it must see our registry

plan.KINDS["library"] = tuple(NEEDS)
