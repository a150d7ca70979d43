"""Which steps a project's pipeline has, in which stages and order. Pure data: `run` executes it, Jenkins renders it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline_tools import __version__
from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError
from pipeline_tools.names import nearest
from pipeline_tools.step import Json
from pipeline_tools.steps import registry

# The steps of each kind of project; steps of an environment come once for each environment.
KINDS: dict[str, tuple[str, ...]] = {
    "data": ("test", "check", "promote"),
    "model": ("test", "evaluate", "promote", "export", "publish", "pin"),
    "service": ("test", "scan", "image", "chart", "deploy", "verify"),
    "library": ("test", "scan"),
    "chart": ("chart",),
}


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step in its place.

    Attributes:
        id: the step's name, with the environment's for those of an environment.
        needs: ids of the steps that come before it; steps that do not need each other may run at the same time.
    """

    id: str
    step: str
    environment: str | None
    summary: str
    needs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Branches run in parallel; the steps of a branch one after the other."""

    name: str
    environment: str | None
    approval: bool
    lock: str | None
    branches: tuple[tuple[PlannedStep, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The stages of a project's pipeline, in order."""

    project: str
    kind: str
    stages: tuple[Stage, ...]

    def steps(self) -> Iterator[PlannedStep]:
        """Every step, in an order in which they can run one after the other."""
        for stage in self.stages:
            for branch in stage.branches:
                yield from branch

    def stage_of(self, step: PlannedStep) -> Stage:
        """The stage that ``step`` is in."""
        return next(stage for stage in self.stages if any(step in branch for branch in stage.branches))

    def as_json(self) -> Json:
        """The form that ``pipeline-tools plan --json`` prints and the Groovy steps render."""
        stages: list[Any] = [asdict(stage) for stage in self.stages]
        return {
            "version": 1,
            "library": __version__,
            "project": self.project,
            "kind": self.kind,
            "stages": stages,
        }


def make(configuration: Callable[[str | None], Config]) -> Plan:
    """The plan of a project. Its environments keep the order in which the configuration names them.

    Args:
        configuration: gives the configuration as an environment sees it; with None, as steps of none see it.
    """
    config, steps = configuration(None), registry()
    names = [name for name in KINDS[config.kind] if not steps[name].per_environment and config.section(name).enabled]
    stages: dict[str, list[tuple[PlannedStep, ...]]] = {}
    for name in names:
        step = steps[name]
        needs = tuple(_present(name, names))
        planned = PlannedStep(id=name, step=name, environment=None, summary=step.summary, needs=needs)
        stages.setdefault(step.stage, []).append((planned,))
    result = [
        Stage(name=name, environment=None, approval=False, lock=None, branches=tuple(branches))
        for name, branches in stages.items()
    ]
    before: tuple[str, ...] = ()  # an environment's turn comes when all is done in the one before it
    for name, environment in config.environments.items():
        seen = configuration(name)
        placed = [each for each in KINDS[config.kind] if steps[each].per_environment and seen.section(each).enabled]
        if not placed:
            continue
        branch = tuple(
            PlannedStep(
                id=id_of(step, name),
                step=step,
                environment=name,
                summary=steps[step].summary,
                needs=(*(id_of(need, name) for need in _present(step, [*names, *placed])), *before),
            )
            for step in placed
        )
        before = tuple(planned.id for planned in branch)
        lock = environment.lock or f"{config.name}-{name}"
        stage = Stage(name=name.upper(), environment=name, approval=environment.approval, lock=lock, branches=(branch,))
        result.append(stage)
    return Plan(project=config.name, kind=config.kind, stages=tuple(result))


def id_of(step: str, environment: str | None) -> str:
    """The id of a step: for those of an environment with the environment's name."""
    return f"{step}-{environment}" if registry()[step].per_environment else step


def _present(step: str, names: Sequence[str]) -> list[str]:
    """What ``step`` needs of the steps that the plan has."""
    return [need for need in registry()[step].needs if need in names]


def select(
    plan: Plan, *, steps: Sequence[str] = (), until: str | None = None, environment: str | None = None
) -> list[PlannedStep]:
    """The part of the plan to run.

    Args:
        steps: names or ids; empty means all. A name of an environment's step means every environment's.
        until: name or id of the last step.
        environment: leave out the other environments' steps; those before any environment stay.

    Raises:
        ConfigError: there is no such step in the plan (with the nearest one), or ``until`` comes before all of them.
    """
    chosen = list(plan.steps())
    if environment is not None:
        chosen = [step for step in chosen if step.environment in (None, environment)]
    valid = {name for step in chosen for name in (step.id, step.step)}
    for name in (*steps, *([until] if until else [])):
        if name not in valid:
            raise ConfigError(
                f"There is no step {name!r} in the plan of {plan.project}.{nearest(name, sorted(valid))}",
                hint=f"The plan has: {', '.join(step.id for step in chosen) or 'no steps'}."
                + (f" Whether it is switched off: `config explain {name}.enabled`." if name in registry() else ""),
            )
    if until:
        last = max(index for index, step in enumerate(chosen) if until in (step.id, step.step))
        chosen = chosen[: last + 1]
    if steps:
        chosen = [step for step in chosen if step.id in steps or step.step in steps]
        if not chosen:
            raise ConfigError(
                f"In the plan of {plan.project} up to {until} there is no {' or '.join(steps)}.",
                hint="Leave --until out, or name a later step there.",
            )
    return chosen
