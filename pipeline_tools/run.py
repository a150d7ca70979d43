"""Executing a plan: what can be skipped is skipped, what is independent runs side by side, and an end is truthful.

One thread holds everything that changes: it takes messages off a queue. Each step at work has a thread that decides
whether it must run, runs it in a process of its own (`worker`), tries again what may succeed, and sends messages.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from pipeline_tools import __version__, ci, ledger, process, travel, worker
from pipeline_tools.config.layers import Resolved
from pipeline_tools.errors import ConfigError, Interrupted, PipelineError
from pipeline_tools.in_pod import message_of
from pipeline_tools.masking import mask
from pipeline_tools.plan import Plan, PlannedStep, id_of
from pipeline_tools.reads import Reads
from pipeline_tools.step import Context, Json, Step
from pipeline_tools.steps import registry
from pipeline_tools.systems import git, tools
from pipeline_tools.worker import Job, about

Status = Literal["passed", "unchanged", "failed", "interrupted", "waiting", "running", "not run"]
# How long a step may clean up after an interrupt before its process is killed, in seconds.
GRACE = 120.0
# How long after a change the report is written anew, in seconds.
REPORT_DELAY = 1.0
# Of a step that others need and another command of the same run has: how it did not pass, and what to do.
UNFINISHED: Mapping[str, tuple[str, str]] = {
    "failed": ("failed", "Mend {need}, and run it again."),
    "interrupted": ("was interrupted", "Run {need} again."),
    "running": ("has not ended", "Wait for it; if its command was killed, run {need} again."),
    "waiting": ("waits for an approval", "Run {need} with --approve."),
    "not run": ("has not run", "Run {need} first."),
}
# What has imported all that steps need, for their processes to be forked from.
FORKED_FROM = "pipeline_tools.forked_from"


class Display(Protocol):
    """Where a run is shown while it happens."""

    def step_started(self, step: PlannedStep) -> None:
        """A step begins."""

    def line(self, step: PlannedStep, text: str) -> None:
        """A line of the step's output, masked."""

    def note(self, text: str) -> None:
        """A line about the run itself."""

    def step_ended(self, record: StepRecord) -> None:
        """A step ended, or was found unchanged."""

    def event(self, event: Json) -> None:
        """Any event, as it is written to events.jsonl."""

    def close(self) -> None:
        """The run is over."""


@dataclass(kw_only=True)
class StepRecord:
    """How a step ended; ``seconds`` of wall time since ``started``, ``reason`` why it was (not) run, for people."""

    id: str
    summary: str
    status: Status = "not run"
    started: str = ""
    seconds: float = 0.0
    reason: str = ""
    attempts: int = 0
    outputs: Mapping[str, Json] = field(default_factory=dict)


@dataclass(kw_only=True)
class RunRecord:
    """How a run went; the content of run.json and of the report.

    Attributes:
        exit_code: None while it is at work, and for ever if it was killed.
        errors: what failed, in the order of the plan.
    """

    id: str
    project: str
    version: str
    commit: str
    branch: str
    folder: Path
    started: str
    exit_code: int | None = None
    seconds: float = 0.0
    steps: list[StepRecord] = field(default_factory=list)
    errors: list[Mapping[str, Json]] = field(default_factory=list)

    def as_json(self) -> Json:
        """The record as run.json holds it."""
        return {**asdict(self), "folder": None, "library": __version__}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asked for.

    Attributes:
        configuration: gives the configuration of an environment (None: of none).
        approver: who approved, for the record.
        strict_approval: a missing approval is an error, not a place to stop.
        join: the name of a run that several processes make together; None: a run of its own.
    """

    project: Path
    plan: Plan
    steps: Sequence[PlannedStep]
    configuration: Callable[[str | None], Resolved]
    approved: bool = False
    approver: str | None = None
    strict_approval: bool = False
    force: bool = False
    join: str | None = None


class StepFailed(Exception):
    """A step's process told that it failed."""

    def __init__(self, told: Mapping[str, Json]) -> None:
        super().__init__(told["message"])
        self.told = told


@dataclass(frozen=True, kw_only=True)
class Message:
    """From a step's thread: what happened (``kind``) and what goes with it; no step: an interrupt."""

    kind: Literal["started", "line", "retry", "unchanged", "passed", "failed", "interrupt"]
    step: PlannedStep | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def execute(request: Request, display: Display) -> RunRecord:
    """Run the requested steps; what depends on a failed one is not run, the rest is.

    Returns:
        The record; its ``exit_code`` says how it ended. Only a lock held by another run, or a project outside git,
        raises (ConfigError): then no run was begun.
    """
    revision = git.revision(request.project)
    config = request.configuration(None).config
    number = config.version or git.version(request.project, prefix=config.git.tag_prefix)
    version = f"{number}-g{revision.commit[:12]}" + ("-dirty" if revision.dirty else "")
    book = ledger.Ledger(request.project)
    if request.force or any(registry()[step.step].always or not book.passed(step.id) for step in request.steps):
        process.prepare(FORKED_FROM)  # while we look at what is to be done
    with book.run(request.join, say=display.note) as run:
        record = RunRecord(
            id=run.id,
            project=config.name,
            version=version,
            commit=revision.commit,
            branch=revision.branch or os.environ.get("BRANCH_NAME", ""),  # Jenkins checks a commit out, not a branch
            folder=run.folder,
            started=_now(),
            steps=[StepRecord(id=step.id, summary=step.summary) for step in request.steps],
        )
        _Runner(request, display, book, run, record).run_all()
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
        self.records = {step.id: step for step in record.steps}
        self.config = request.configuration(None).config
        self.settings = self.config.run
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()  # its put may be called in a signal handler
        self.stop = threading.Event()
        self.files = Reads(request.project)
        self.threads: dict[str, threading.Thread] = {}
        self.began: dict[str, float] = {}
        self.outputs: dict[str, Mapping[str, Json]] = {}
        self.unread = False
        self.report_due: float | None = None
        self.retries = 0
        self.retries_lock = threading.Lock()

    def run_all(self) -> None:
        begun = time.monotonic()
        self.fetch_ledger()
        self.event("run started", project=self.record.project, version=self.record.version, commit=self.record.commit)
        self.save()
        try:
            with self.interruptible():
                self.schedule()
        except Exception as error:  # a defect of ours: the ledger says so all the same
            self.stop.set()
            self.record.errors.append({**about(error), "step": None, "run": self.run.id})
            for thread in self.threads.values():  # steps clean up all the same
                thread.join(GRACE)
        finally:
            self.record.errors.sort(key=self.place)
            self.record.exit_code = int(self.record.errors[0]["exit_code"]) if self.record.errors else 0
            self.record.seconds = time.monotonic() - begun
            self.event("run ended", exit_code=self.record.exit_code, seconds=round(self.record.seconds, 3))
            self.save()
            self.report()
            self.publish_ledger()
            self.send_trace()

    def fetch_ledger(self) -> None:
        """Take over what passed elsewhere; without it steps are only repeated."""
        if self.settings.ledger == "artifactory":
            try:
                taken = travel.pull(self.request.project, self.config, self.record.branch)
                self.show(self.display.note, f"from the ledger in Artifactory: {', '.join(taken) or 'nothing newer'}")
            except PipelineError as error:
                self.show(self.display.note, f"warning: the ledger could not be fetched: {error.message}")

    def publish_ledger(self) -> None:
        """Let others go on from here; that it fails does not make a run fail."""
        if self.settings.ledger == "artifactory":
            try:
                travel.push(self.request.project, self.config, self.record.branch, self.run.id)
            except PipelineError as error:
                self.show(self.display.note, f"warning: the ledger could not be published: {error.message}")

    def send_trace(self) -> None:
        """Tell the tracing system of the run; that it does not listen does not make a run fail."""
        if self.settings.traces:
            from pipeline_tools.tracing import export

            try:
                export(self.record)
            except PipelineError as error:
                self.show(self.display.note, f"warning: {error.message} {error.hint}")

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM become a message; pressing it twice does not interrupt the cleaning up."""

        def interrupt(number: int, frame: object) -> None:
            self.messages.put(Message(kind="interrupt"))

        before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def save(self) -> None:
        """Write run.json and what follows from it; the report does so soon (`next_message`)."""
        with self.run.alone():
            whole = self.whole()
            self.run.write("run.json", whole.as_json())
            _write_errors(self.run, whole.errors)
            if self.request.join:
                self.run.write(ci.BUILD, ci.build(whole, self.request.plan, self.config, os.environ))
        self.report_due = self.report_due or time.monotonic() + REPORT_DELAY

    def whole(self) -> RunRecord:
        """The record with what other processes of the same run have done."""
        if not self.request.join:
            return self.record
        other = ledger.read_json(self.run.folder / "run.json")
        if other:  # a name that was mistyped, or an environment's step without one, was refused: it is nobody's
            planned = {None, *(step.id for step in self.request.plan.steps())}
            other["steps"] = [step for step in other["steps"] if step["id"] in planned]
            other["errors"] = [error for error in other["errors"] if error["step"] in planned]
        return _merged(self.record, other, self.place)

    def place(self, error: Mapping[str, Json]) -> int:
        """Where an error stands: one of the run itself comes first, then those of steps in the order of the plan."""
        order: list[Json] = [None, *(step.id for step in self.request.plan.steps())]
        return order.index(error["step"]) if error["step"] in order else len(order)

    def report(self) -> None:
        """Write the report; that it cannot be written does not make a run fail."""
        from pipeline_tools.report.html import write

        self.report_due = None
        try:
            with self.run.alone():
                write(self.whole(), self.run.folder / "report.html")
        except Exception as error:
            self.show(self.display.note, f"warning: the report could not be written: {mask(str(error))}")

    def event(self, kind: str, **values: Json) -> None:
        self.show(self.display.event, self.run.event(kind, **values))

    def show(self, tell: Callable[..., None], *what: Any) -> None:
        """Show something; that nobody reads it any more is as if the run were interrupted."""
        if not self.unread:
            try:
                tell(*what)
            except BrokenPipeError:
                self.unread = True
                self.messages.put(Message(kind="interrupt"))

    # ── the one thread that holds the state ──

    def schedule(self) -> None:
        """Begin what can begin, take what comes, until nothing is left to do."""
        waiting = list(self.request.steps)
        while True:
            for planned in list(waiting):
                if self.stop.is_set():
                    waiting.clear()
                elif self.blocked(planned):
                    waiting.remove(planned)
                elif self.ready(planned) and self.room(planned):
                    waiting.remove(planned)
                    self.begin(planned)
            if not self.threads:
                if not waiting:
                    return
                continue  # what was found blocked may block more
            self.take(self.next_message())

    def next_message(self) -> Message:
        """What happens next; while nothing does, the report is brought up to date, not with each message."""
        while True:
            left = None if self.report_due is None else max(0.0, self.report_due - time.monotonic())
            with suppress(queue.Empty):
                if left != 0.0:
                    return self.messages.get(timeout=left)
            self.report()

    def blocked(self, planned: PlannedStep) -> bool:
        """Whether the step cannot run because one that it needs did not pass; noted if so."""
        for need in planned.needs:
            record = self.records.get(need)
            if record is not None and self.is_over(need) and record.status not in ("passed", "unchanged"):
                self.records[planned.id].reason = f"it needs {need}: {record.status}"
                self.began[planned.id] = 0.0
                return True
        return False

    def is_over(self, step_id: str) -> bool:
        return step_id in self.began and step_id not in self.threads

    def ready(self, planned: PlannedStep) -> bool:
        return all(need not in self.records or self.is_over(need) for need in planned.needs)

    def room(self, planned: PlannedStep) -> bool:
        """Whether one more may run beside those at work; one always may."""
        if not self.threads:
            return True
        at_work = [step for step in self.request.steps if step.id in self.threads]
        memory = sum(registry()[step.step].memory for step in (*at_work, planned))
        return len(at_work) < self.settings.parallel() and memory <= self.settings.memory_limit()

    def begin(self, planned: PlannedStep) -> None:
        self.began[planned.id] = time.monotonic()
        try:
            for need in planned.needs:
                self.must_not_have_failed(planned, need)
                self.know(planned, need)
        except PipelineError as error:
            self.fail(planned, about(error))
            return
        thread = threading.Thread(target=self.attend, args=(planned, dict(self.outputs)), daemon=True)
        self.threads[planned.id] = thread
        thread.start()

    def must_not_have_failed(self, planned: PlannedStep, need: str) -> None:
        """If another command of this run has the step, only what it made of it counts, not an earlier run."""
        if self.request.join is None or need in self.records:
            return
        told = ledger.read_json(self.run.folder / "run.json") or {"steps": []}
        status = next((step["status"] for step in told["steps"] if step["id"] == need), "passed")
        if status in UNFINISHED:
            happened, hint = UNFINISHED[status]
            raise ConfigError(
                f"The step {planned.id} needs {need}, which {happened} in this run.", hint=hint.format(need=need)
            )

    def know(self, planned: PlannedStep, need: str) -> None:
        """Have the outputs of a step that is not part of this run; only those that the step itself asks for."""
        asked = [id_of(name, planned.environment) for name in registry()[planned.step].needs]
        if need in self.outputs or need not in asked:
            return
        passed = self.book.passed(need)
        if passed is None:
            raise ConfigError(
                f"The step {planned.id} needs {need}, which has not passed yet.",
                hint=f"Run `pipeline-tools run --until {planned.id}`.",
            )
        self.outputs[need] = passed.outputs

    def take(self, message: Message) -> None:
        if message.step is None:
            if not self.stop.is_set():
                self.stop.set()
                self.show(self.display.note, "interrupted: cleaning up")
            return
        planned, values, record = message.step, message.values, self.records[message.step.id]
        match message.kind:
            case "started":
                record.status, record.reason, record.started = "running", values["reason"], _now()
                self.show(self.display.step_started, planned)
                if self.request.plan.stage_of(planned).approval:
                    self.event("approved", step=planned.id, by=self.request.approver)
                self.event("step started", step=planned.id, reason=values["reason"], digest=values["digest"])
                self.save()
            case "line":
                self.show(self.display.line, planned, values["text"])
            case "retry":
                again = f"{values['message']} Trying again in {values['wait']:.1f} s."
                self.show(self.display.line, planned, again)
                self.event("step retried", step=planned.id, **values)
            case "unchanged":
                passed = values["passed"]
                record.status, record.outputs = "unchanged", passed.outputs
                record.reason = f"nothing that it reads changed since run {passed.run}"
                self.outputs[planned.id] = passed.outputs
                self.event("step unchanged", step=planned.id, since=passed.run)
                self.ended(record)
            case "passed":
                record.status, record.outputs, record.attempts = "passed", values["outputs"], values["attempts"]
                record.seconds = values["seconds"]
                self.outputs[planned.id] = record.outputs
                ledger.write_json(self.run.step_folder(planned.id) / "outputs.json", dict(record.outputs))
                done = ledger.Passed(digest=values["digest"], run=self.run.id, outputs=record.outputs)
                self.book.record(planned.id, done)
                self.event("step passed", step=planned.id, seconds=round(record.seconds, 3), outputs=record.outputs)
                self.ended(record)
            case "failed":
                record.seconds, record.attempts = values["seconds"], values["attempts"]
                self.fail(planned, values["told"])

    def ended(self, record: StepRecord) -> None:
        self.threads.pop(record.id, None)
        self.show(self.display.step_ended, record)
        self.save()

    def fail(self, planned: PlannedStep, told: Mapping[str, Json]) -> None:
        record = self.records[planned.id]
        record.reason = str(told["message"])
        if told["class"] == "approval":
            record.status = "waiting"
            self.event("approval needed", step=planned.id, stage=told["stage"])
        else:
            record.status = "interrupted" if told["class"] == Interrupted.kind else "failed"
            self.event("step failed", step=planned.id, error=told["class"], message=told["message"])
        if told["class"] != "approval" or self.request.strict_approval:
            self.record.errors.append({**told, "step": planned.id, "run": self.run.id})
        self.ended(record)

    # ── a step's own thread ──

    def attend(self, planned: PlannedStep, outputs: Mapping[str, Mapping[str, Json]]) -> None:
        """See one step to its end; whatever happens, a message says so."""
        begun = time.monotonic()
        attempts = 0
        earlier: list[str] = []
        try:
            with self.run.step(planned.id):
                job, digest = self.prepare(planned, outputs)
                if job is None:
                    return
                begun = time.monotonic()
                for attempt in self.attempts(planned, earlier):
                    with attempt, self.files.changing():
                        attempts = attempt.retry_state.attempt_number
                        made = self.work(planned, job)
            self.send("passed", planned, outputs=made, digest=digest, attempts=attempts, seconds=_since(begun))
        except BaseException as error:  # a thread that ended without a word would leave the run waiting for ever
            told = error.told if isinstance(error, StepFailed) else about(error)
            if earlier:
                lines = [f"attempt {number}: {message}" for number, message in enumerate(earlier, 1)]
                told = {**told, "details": "\n".join(filter(None, [*lines, told["details"]]))}
            self.send("failed", planned, told=told, attempts=attempts, seconds=_since(begun) if attempts else 0.0)

    def send(self, kind: Any, planned: PlannedStep, **values: Any) -> None:
        self.messages.put(Message(kind=kind, step=planned, values=values))

    def prepare(self, planned: PlannedStep, outputs: Mapping[str, Mapping[str, Json]]) -> tuple[Job | None, str]:
        """What the step's process is to do, and the digest of what the step reads; no job: nothing changed."""
        step = registry()[planned.step]
        out = self.run.step_folder(planned.id)
        job = Job(
            id=planned.id,
            step=planned.step,
            environment=planned.environment,
            project=str(self.request.project),
            out=str(out),
            values=self.request.configuration(planned.environment).values,
            outputs=outputs,
            version=self.record.version,
            commit=self.record.commit,
            branch=self.record.branch,
            run_id=self.run.id,
            files=(),
        )
        config = self.request.configuration(planned.environment).config
        context = job.context(config, lambda text: self.send("line", planned, text=mask(text)))
        reads = self.reads(planned, step, context)
        job = replace(job, files=tuple(reads["files"]))
        ledger.write_json(out / "reads.json", reads, indent=None)
        digest = ledger.digest(reads)
        reason = self.reason_to_run(planned, step, context, digest)
        if reason is None:
            self.send("unchanged", planned, passed=self.book.passed(planned.id))
            return None, digest
        stage = self.request.plan.stage_of(planned)
        if stage.approval and not self.request.approved:
            error = ConfigError(f"{stage.name} needs an approval.", hint="Run the same again with --approve.")
            raise StepFailed({**about(error), "class": "approval", "stage": stage.name})
        self.send("started", planned, reason=reason, digest=digest)
        return job, digest

    def reads(self, planned: PlannedStep, step: Step[Any], context: Context[Any]) -> dict[str, Json]:
        """Everything that decides about the step's result, for the digest and for `pipeline-tools diff`."""
        used = {name: id_of(name, planned.environment) for name in step.uses}
        return {
            "step": planned.id,
            "library": __version__,
            "inputs": context.inputs.model_dump(),
            "systems": {name: context.config.section(name).model_dump() for name in step.systems},
            "outputs": {name: context.outputs.get(planned_id) for name, planned_id in used.items()},
            "tools": {name: tools.version(name) for name in step.tools},
            "files": self.files.of(step.reads(context)),
        }

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

    def attempts(self, planned: PlannedStep, earlier: list[str]) -> Retrying:
        """Tries what may succeed again, with a growing random wait, as long as the run's budget lasts.

        The messages of the attempts that are followed by another go to ``earlier``.
        """

        def again(error: BaseException) -> bool:
            if not isinstance(error, StepFailed) or not error.told["transient"] or self.stop.is_set():
                return False
            with self.retries_lock:
                self.retries += 1
                return self.retries <= self.settings.retries

        def say(state: RetryCallState) -> None:
            assert state.outcome is not None
            error = state.outcome.exception()
            assert isinstance(error, StepFailed)
            earlier.append(error.told["message"])
            told = {"message": error.told["message"], "wait": state.upcoming_sleep, "attempt": state.attempt_number}
            self.send("retry", planned, **told)

        return Retrying(
            retry=retry_if_exception(again),
            stop=stop_after_attempt(self.settings.attempts),
            wait=wait_random_exponential(multiplier=self.settings.wait, max=60),
            sleep=self.pause,
            before_sleep=say,
            reraise=True,
        )

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is interrupted."""
        self.stop.wait(seconds)

    def work(self, planned: PlannedStep, job: Job) -> Mapping[str, Json]:
        """Run the step in a process of its own; returns its outputs.

        Raises:
            StepFailed: it did not pass.
        """
        if self.stop.is_set():
            raise StepFailed(about(KeyboardInterrupt()))
        replies: list[Mapping[str, Json]] = []

        def line(text: str) -> None:
            message = message_of(text) or {"line": text}
            if "line" in message:
                self.send("line", planned, text=mask(message["line"]))
            else:
                replies.append(message)

        process.prepare(FORKED_FROM)
        code = process.supervise(worker.work, job, line=line, stop=self.stop, grace=GRACE, keep=(self.run.lock,))
        reply = replies[-1] if replies else {}
        if "passed" in reply:
            outputs: Mapping[str, Json] = reply["passed"]
            return outputs
        if "failed" in reply:
            raise StepFailed(reply["failed"])
        if self.stop.is_set():  # it had not begun yet
            raise StepFailed(about(KeyboardInterrupt()))
        raise StepFailed(
            {
                **about(RuntimeError(f"the process of {planned.id} ended with {code} and did not say why")),
                "hint": "A negative number is a signal; -9 without a reason is most often lack of memory.",
                "transient": code < 0 or code == process.LOST,
            }
        )


def refused(project: Path, run_id: str, step_id: str, error: BaseException) -> None:
    """Write into a run of several commands that a step of it failed before the run could begin for it.

    The configuration may be what is wrong, so nothing else is known of the run; the next command that begins adds it.
    """
    told = {**about(error), "step": step_id, "run": run_id}
    folder = ledger.Ledger(project).run_folder(run_id)
    with ledger.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    none = RunRecord(id=run_id, project="", version="", commit="", branch="", folder=folder, started=_now())
    step = StepRecord(id=step_id, summary="", status="failed", reason=str(told["message"]))
    run = ledger.Run(folder, run_id, lock=-1)
    with run.alone():
        whole: Any = ledger.read_json(folder / "run.json") or none.as_json()
        whole["steps"] = [*(each for each in whole["steps"] if each["id"] != step_id), asdict(step)]
        whole["errors"] = [*(each for each in whole["errors"] if each["step"] != step_id), told]
        whole["exit_code"] = whole["errors"][0]["exit_code"]
        run.write("run.json", whole)
        _write_errors(run, whole["errors"])
        run.write(ci.BUILD, ci.could_not_begin(step_id, told, ledger.read_json(folder / ci.BUILD)))


def _write_errors(run: ledger.Run, errors: Sequence[Mapping[str, Json]]) -> None:
    """Write error.json, whose first one decides; there is none when nothing failed."""
    if errors:
        run.write("error.json", {**errors[0], "others": list(errors[1:])})
    else:
        (run.folder / "error.json").unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _since(begun: float) -> float:
    return time.monotonic() - begun


def _merged(own: RunRecord, other: Json, place: Callable[[Mapping[str, Json]], int]) -> RunRecord:
    """The record of a run that several processes make: their steps as they left them, and ours; errors by ``place``."""
    if not isinstance(other, dict):
        return own
    ours = {step.id: step for step in own.steps}
    steps = [ours.pop(step["id"]) if step["id"] in ours else StepRecord(**step) for step in other["steps"]]
    errors = [error for error in other["errors"] if error["step"] not in {step.id for step in own.steps}]
    errors = sorted([*errors, *own.errors], key=place)
    return RunRecord(
        **{
            **own.__dict__,
            "started": other["started"],
            "exit_code": int(errors[0]["exit_code"]) if errors else own.exit_code,
            "steps": [*steps, *ours.values()],
            "errors": errors,
        }
    )
