"""One step in a process of its own, so that steps run beside each other and each can be interrupted for itself.

Writes JSON lines to standard output: ``{"line": …}`` for each line for the user, and at the end ``{"passed": outputs}``
or ``{"failed": about}``. Everything that it writes is masked. In a pod it is a program of its own, which reads the job
(JSON) from standard input; here it is forked (`process.supervise`), which takes a tenth of the time of a new Python.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline_tools import __version__, in_pod, secrets
from pipeline_tools.config import schema
from pipeline_tools.errors import EXIT_DEFECT, ConfigError, Interrupted, PipelineError
from pipeline_tools.ledger import UNENCODED
from pipeline_tools.masking import mask, mask_strays, mask_values
from pipeline_tools.process import HELD_BACK
from pipeline_tools.step import Context, Json, RunnerInputs
from pipeline_tools.steps import registry


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is to do; all of it can be written as JSON.

    Attributes:
        id: of the planned step; ``step``: its declaration's name.
        values: the merged configuration, from which `Config` is made.
        outputs: what earlier steps returned, by id.
        out: the step's folder in the run.
        files: what the step reads, relative to the project.
        tracked: see `Context`; given in a pod.
        in_pod: whether the worker is in a pod; ``library``: the version of the one that asks.
    """

    id: str
    step: str
    environment: str | None
    project: str
    out: str
    values: Mapping[str, Json]
    outputs: Mapping[str, Mapping[str, Json]]
    version: str
    commit: str
    branch: str
    run_id: str
    files: tuple[str, ...]
    tracked: tuple[str, ...] | None = None
    in_pod: bool = False
    library: str = __version__

    def as_json(self) -> bytes:
        """The request."""
        return json.dumps(asdict(self), default=str).encode()

    def config(self) -> schema.Config:
        """The configuration that `values` make."""
        return schema.model().model_validate(self.values)

    def context(self, config: schema.Config, log: Any) -> Context[Any]:
        """What the step is called with; ``config`` is what `config` gives."""
        return Context(
            project=Path(self.project),
            config=config,
            inputs=config.section(self.step),
            environment=self.environment,
            out=Path(self.out),
            outputs=self.outputs,
            log=log,
            version=self.version,
            commit=self.commit,
            branch=self.branch,
            run_id=self.run_id,
            tracked=self.tracked,
        )


def about(error: BaseException) -> dict[str, Json]:
    """What is told of an error: in events, in error.json, and to whoever started the worker. Masked."""
    if isinstance(error, KeyboardInterrupt):
        error = Interrupted("Interrupted.", hint="Run the same again: it goes on where it stopped.")
    if isinstance(error, PipelineError):
        told: dict[str, Json] = {
            "class": error.kind,
            "exit_code": error.exit_code,
            "message": error.message,
            "hint": error.hint,
            "link": error.link,
            "details": error.details,
            "transient": error.transient,
        }
    else:
        told = {
            "class": "defect",
            "exit_code": EXIT_DEFECT,
            "message": f"{type(error).__name__}: {error}",
            "hint": "This is a defect of pipeline-tools: please report it with the details.",
            "link": "",
            "details": "".join(traceback.format_exception(error)),
            "transient": False,
        }
    return {key: mask(value) if isinstance(value, str) else value for key, value in told.items()}


def work(job: Job) -> None:
    """Do one job; what is told of it goes to standard output, what a library prints to standard error."""
    mask_strays()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", errors=UNENCODED, buffering=1)
    os.dup2(2, 1)
    lock = threading.Lock()

    def reply(**message: Json) -> None:
        with lock, suppress(BrokenPipeError):  # nobody listens any more: cleaning up goes on
            replies.write(json.dumps(mask_values(message), ensure_ascii=False, default=str) + "\n")

    with (Path(job.out) / "log.txt").open("a", encoding="utf-8", errors=UNENCODED, buffering=1) as file:

        def log(text: str) -> None:
            for line in mask(text).splitlines() or [""]:
                file.write(line + "\n")
                reply(line=line)

        try:
            _listen()
            if job.library != __version__:
                raise ConfigError(
                    f"The pod's image has pipeline-tools {__version__}, but the run is made by {job.library}.",
                    hint=f"Set {job.step}.pod.image to an image with {job.library}.",
                )
            step, context = registry()[job.step], job.context(job.config(), log)
            secrets.read_from(context.config.kubernetes)
            _learn_secrets(context.config)
            if isinstance(context.inputs, RunnerInputs) and context.inputs.runner == "pod" and not job.in_pod:
                reply(**in_pod.run(job, step, context, log))
            else:
                reply(passed=dict(step.run(context)))
        except BaseException as error:  # whatever it is, the one that started us tells it
            reply(failed=about(error))


def _learn_secrets(config: schema.Config) -> None:
    """Mask every credential that can be read here: a program may print one that its step does not use."""
    for step in registry().values():
        for credential in step.credentials:
            for key in credential.config:
                reference = config.value(key)
                if (
                    credential.type != "file"
                    and not key.endswith(".username")
                    and reference
                    and not reference.startswith("secret:")
                ):
                    with suppress(PipelineError):
                        secrets.resolve(reference)


def _listen() -> None:
    """Take SIGTERM, and the end of the one that started us, for an interrupt from now on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the one that started us, who tells us
    signal.signal(signal.SIGTERM, _interrupt)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # cleaning up is not interrupted a second time
    raise KeyboardInterrupt


def _watch(parent: Any) -> None:
    """End as on Ctrl-C when the one that started us is gone: it was killed."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    work(Job(**json.load(sys.stdin)))
