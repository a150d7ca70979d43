"""Executing a plan: what can be skipped is skipped, everything is written down, and an end is always truthful."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline_tools import __version__, ledger
from pipeline_tools.config.schema import Config
from pipeline_tools.errors import EXIT_DEFECT, ConfigError, Interrupted, PipelineError
from pipeline_tools.masking import mask
from pipeline_tools.plan import Plan, PlannedStep
from pipeline_tools.step import Context, Json, Step
from pipeline_tools.steps import registry
from pipeline_tools.systems import git

Status = Literal["passed", "unchanged", "failed", "interrupted", "waiting", "not run"]


class Display(Protocol):
    """Where a run is shown while it happens."""

    def step_started(self, step: PlannedStep) -> None:
        """A step begins."""

    def line(self, step: PlannedStep, text: str) -> None:
        """A line of the step's output, masked."""

    def step_ended(self, record: StepRecord) -> None:
        """A step ended, or was found unchanged."""

    def event(self, event: Json) -> None:
        """Any event, as it is written to events.jsonl."""


@dataclass(kw_only=True)
class StepRecord:
    """How a step ended; ``seconds`` of wall time, ``reason`` why it was (not) run, for people."""

    id: str
    summary: str
    status: Status = "not run"
    seconds: float = 0.0
    reason: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict)


@dataclass(kw_only=True)
class RunRecord:
    """How a run went; the content of run.json and of the report."""

    id: str
    project: str
    version: str
    commit: str
    branch: str
    folder: Path
    exit_code: int = EXIT_DEFECT
    seconds: float = 0.0
    steps: list[StepRecord] = field(default_factory=list)
    error: Mapping[str, Json] | None = None

    def as_json(self) -> Json:
        """The record as run.json holds it."""
        return {**asdict(self), "folder": None, "library": __version__}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asked for.

    Attributes:
        configuration: gives the configuration of an environment (None: of none).
        strict_approval: a missing approval is an error, not a place to stop.
    """

    project: Path
    plan: Plan
    steps: Sequence[PlannedStep]
    configuration: Callable[[str | None], Config]
    approved: bool = False
    strict_approval: bool = False
    force: bool = False


class Skipped(Exception):
    """The rest of the run waits for an approval."""


def execute(request: Request, display: Display) -> RunRecord:
    """Run the requested steps in order, up to the first failure.

    Returns:
        The record; its ``exit_code`` says how it ended. Only a lock held by another run, or a project outside git,
        raises (ConfigError): then no run was begun.
    """
    revision = git.revision(request.project)
    config = request.configuration(None)
    version = f"{config.version}-g{revision.commit[:12]}" + ("-dirty" if revision.dirty else "")
    book = ledger.Ledger(request.project)
    with book.run() as run:
        record = RunRecord(
            id=run.id,
            project=config.name,
            version=version,
            commit=revision.commit,
            branch=revision.branch,
            folder=run.folder,
            steps=[StepRecord(id=step.id, summary=step.summary) for step in request.steps],
        )
        runner = _Runner(request, display, book, run, record)
        runner.run_all()
    return record


class _Runner:
    def __init__(
        self, request: Request, display: Display, book: ledger.Ledger, run: ledger.Run, record: RunRecord
    ) -> None:
        self.request = request
        self.display = display
        self.book = book
        self.run = run
        self.record = record
        self.outputs: dict[str, Mapping[str, Json]] = {}

    def run_all(self) -> None:
        begun = time.monotonic()
        self.event("run started", project=self.record.project, version=self.record.version, commit=self.record.commit)
        self.run.write("run.json", self.record.as_json())
        current = None
        try:
            for step, record in zip(self.request.steps, self.record.steps, strict=True):
                current = record
                self.run_step(step, record)
                self.run.write("run.json", self.record.as_json())
            self.record.exit_code = 0
        except Skipped:
            self.record.exit_code = 0
        except BaseException as error:
            # whatever ends a run, the ledger says so; the caller learns it from the exit code
            self.fail(error, current)
        finally:
            self.record.seconds = time.monotonic() - begun
            self.event("run ended", exit_code=self.record.exit_code, seconds=round(self.record.seconds, 3))
            self.run.write("run.json", self.record.as_json())
            with suppress(OSError):
                self.write_report()

    def write_report(self) -> None:
        from pipeline_tools.report.html import write

        write(self.record, self.run.folder / "report.html")

    def event(self, kind: str, **values: Json) -> None:
        self.display.event(self.run.event(kind, **values))

    def run_step(self, planned: PlannedStep, record: StepRecord) -> None:
        step = registry()[planned.step]
        context = self.context(planned, step)
        digest = self.digest(planned, step, context)
        reason = self.reason_to_run(planned, step, context, digest)
        if reason is None:
            passed = self.book.passed(planned.id)
            assert passed is not None
            record.status, record.outputs = "unchanged", passed.outputs
            record.reason = f"nothing that it reads changed since run {passed.run}"
            self.outputs[planned.id] = passed.outputs
            self.event("step unchanged", step=planned.id, since=passed.run)
            self.display.step_ended(record)
            return
        record.reason = reason
        self.check_approval(planned, record)
        self.display.step_started(planned)
        self.event("step started", step=planned.id, reason=reason, digest=digest)
        begun = time.monotonic()
        try:
            outputs = step.run(context)
        finally:
            record.seconds = time.monotonic() - begun
        record.status, record.outputs = "passed", outputs
        self.outputs[planned.id] = outputs
        ledger.write_json(context.out / "outputs.json", dict(outputs))
        self.book.record(planned.id, ledger.Passed(digest=digest, run=self.run.id, outputs=outputs))
        self.event("step passed", step=planned.id, seconds=round(record.seconds, 3), outputs=dict(outputs))
        self.display.step_ended(record)

    def context(self, planned: PlannedStep, step: Step[Any]) -> Context[Any]:
        config = self.request.configuration(planned.environment)
        for need in step.needs:
            if need in self.outputs or not config.section(need).enabled:
                continue
            passed = self.book.passed(need)
            if passed is None:
                raise ConfigError(
                    f"The step {planned.id} needs {need}, which has not passed yet.",
                    hint=f"Run `pipeline-tools run --until {planned.id}`.",
                )
            self.outputs[need] = passed.outputs
        out = self.run.step_folder(planned.id)

        def log(text: str) -> None:
            for line in mask(text).splitlines() or [""]:
                with (out / "log.txt").open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
                self.display.line(planned, line)

        return Context(
            project=self.request.project,
            config=config,
            inputs=config.section(planned.step),
            environment=planned.environment,
            out=out,
            outputs=self.outputs,
            log=log,
            version=self.record.version,
            commit=self.record.commit,
            branch=self.record.branch,
            run_id=self.run.id,
        )

    def digest(self, planned: PlannedStep, step: Step[Any], context: Context[Any]) -> str:
        parts = {
            "step": planned.id,
            "library": __version__,
            "inputs": context.inputs.model_dump(),
            "systems": {name: context.config.section(name).model_dump() for name in step.systems},
            "outputs": {name: context.outputs.get(name) for name in step.uses},
        }
        read = list(step.reads(context))
        listed = git.files(self.request.project, *read, untracked=True) if read else []
        return ledger.digest(parts, [(path.as_posix(), self.request.project / path) for path in listed])

    def reason_to_run(self, planned: PlannedStep, step: Step[Any], context: Context[Any], digest: str) -> str | None:
        """Why the step must run; None when it need not."""
        passed = self.book.passed(planned.id)
        if self.request.force:
            return "forced"
        if step.always:
            return "it looks at the outside world"
        if passed is None:
            return "it has not passed before"
        if passed.digest != digest:
            return "what it reads changed"
        if step.still_there is not None and not step.still_there(context, passed.outputs):
            return "what it had left is gone"
        return None

    def check_approval(self, planned: PlannedStep, record: StepRecord) -> None:
        stage = self.request.plan.stage_of(planned)
        if not stage.approval or self.request.approved:
            return
        record.status = "waiting"
        record.reason = f"{stage.name} needs an approval"
        self.event("approval needed", step=planned.id, stage=stage.name)
        self.display.step_ended(record)
        if self.request.strict_approval:
            raise ConfigError(f"{stage.name} needs an approval.", hint="Run the same again with --approve.")
        raise Skipped

    def fail(self, error: BaseException, record: StepRecord | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            error = Interrupted("Interrupted.", hint="Run the same again: it goes on where it stopped.")
        if isinstance(error, PipelineError):
            about: dict[str, Any] = {"class": error.kind, "exit_code": error.exit_code, "message": error.message}
            about |= {"hint": error.hint, "link": error.link, "details": error.details}
        else:
            text = "".join(traceback.format_exception(error))
            (self.run.folder / "defect.txt").write_text(mask(text), encoding="utf-8")
            about = {
                "class": "defect",
                "exit_code": EXIT_DEFECT,
                "message": f"{type(error).__name__}: {error}",
            }
            about |= {
                "hint": "This is a defect of pipeline-tools: report it with defect.txt of the run.",
                "link": "",
            }
            about |= {"details": text}
        about = {key: mask(value) if isinstance(value, str) else value for key, value in about.items()}
        about |= {"step": record.id if record else None, "run": self.run.id}
        self.record.error = about
        self.record.exit_code = int(about["exit_code"])
        self.run.write("error.json", about)
        if record is not None and record.status != "waiting":
            record.status = "interrupted" if isinstance(error, Interrupted) else "failed"
            record.reason = str(about["message"])
            self.event("step failed", step=record.id, error=about["class"], message=about["message"])
            self.display.step_ended(record)
