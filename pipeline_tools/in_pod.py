"""A step in a Kubernetes pod: what it reads goes in, the same worker does the work there, what it leaves comes out."""

from __future__ import annotations

import copy
import json
import os
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pipeline_tools import secrets
from pipeline_tools.config import schema
from pipeline_tools.config.layers import put
from pipeline_tools.errors import ConfigError, InfrastructureError
from pipeline_tools.ledger import OURS
from pipeline_tools.step import Context, Json, Step

if TYPE_CHECKING:
    from pipeline_tools.systems.pod import PodSession
    from pipeline_tools.worker import Job

# The names of what a worker tells; see `worker`.
MESSAGES = frozenset({"line", "passed", "failed"})


def run(job: Job, step: Step[Any], context: Context[Any], log: Callable[[str], None]) -> Mapping[str, Json]:
    """Do a job in a pod; returns the reply of the worker there.

    Raises:
        PipelineError: the pod did not come to its end, with the reason.
    """
    from pipeline_tools.systems.pod import SOURCE, WORK, Task, pod_session, pull_credentials
    from pipeline_tools.systems.release import connect

    settings = context.inputs.pod
    if settings.image is None:
        raise ConfigError(
            f"{job.step}.pod.image is not set: there is no image to run {job.step} in.",
            hint="Set it to an image with this version of pipeline-tools; resources/agent/Dockerfile makes one.",
        )
    kubernetes = connect(context.config.kubernetes)
    values, environment = _references(job, step, context.config)
    environment |= {name: secrets.resolve(reference) for name, reference in settings.secrets.items()}
    files, project = _files(job, context)
    out = PurePosixPath(SOURCE) / project / os.path.relpath(job.out, job.project)
    quoted = shlex.quote(str(out))
    there = replace(
        job,
        project=str(PurePosixPath(SOURCE) / project),
        out=str(out),
        values=values,
        tracked=tuple(file.as_posix() for file in context.files()),
        in_pod=True,
    )
    task = Task(
        name=f"{context.config.name}-{job.id}",
        image=settings.image,
        command=("sh", "-c", f"mkdir -p {quoted} && exec python3 -m pipeline_tools.worker < {WORK}/job.json"),
        env=settings.env,
        secrets=environment,
        cpu=settings.cpu,
        memory_request=settings.memory_request,
        memory=settings.memory,
        timeout=settings.timeout,
        start_timeout=settings.start_timeout,
        service_account=settings.service_account,
        node_selector=settings.node_selector,
        tolerations=tuple(settings.tolerations),
        volumes=tuple(settings.volumes),
        pull_secret=settings.image_pull_secret,
        pull=pull_credentials(settings.image, context.config.artifactory),
        outputs=str(out),
    )
    replies: list[Mapping[str, Json]] = []

    def take(line: str) -> None:
        message = message_of(line) or {"line": line}
        if "line" in message:
            log(str(message["line"]))
        else:
            replies.append(message)

    with pod_session(kubernetes, settings.namespace, task, take) as session:
        log(f"pod {settings.namespace}/{session.name}: sending {len(files)} files")
        session.send(Path(job.project), {**files, "job.json": there.as_json()})
        code = session.run()
        _bring_out(session, Path(job.out))
    if not replies:
        raise InfrastructureError(
            f"{job.id} ended in its pod with exit code {code} and did not say why.",
            hint=f"Does {settings.image} have Python and pipeline-tools?",
        )
    return replies[-1]


def message_of(line: str) -> dict[str, Json] | None:
    """What a worker tells with a line of its output; None when it is none of its messages. See `worker`."""
    if line.startswith("{"):
        try:
            message = json.loads(line)
        except ValueError:
            return None
        if isinstance(message, dict) and len(message) == 1 and message.keys() & MESSAGES:
            return message
    return None


def _references(job: Job, step: Step[Any], config: schema.Config) -> tuple[dict[str, Json], dict[str, str]]:
    """The configuration as it is in the pod, and the credentials of the step as variables of the pod's Secret.

    A kubeconfig does not go in: what a step does in the cluster it does as the pod's service account.
    """
    values: dict[str, Any] = copy.deepcopy(dict(job.values))
    for key, value in config.section(job.step).pod.settings.items():
        put(values, tuple(key.split(".")), value)
    environment: dict[str, str] = {}
    for credential in step.credentials:
        for key, variable in zip(credential.config, credential.variables, strict=True):
            section, _, name = key.partition(".")
            if credential.type == "file":
                put(values, ("kubernetes", "kubeconfig"), None)
                put(values, ("kubernetes", "context"), None)
            elif getattr(config.section(section), "url", None):
                environment[variable] = secrets.resolve(
                    getattr(config.section(section), name), masked=name != "username"
                )
                put(values, tuple(key.split(".")), f"env:{variable}")
    return values, environment


def _files(job: Job, context: Context[Any]) -> tuple[dict[str, Path | bytes], str]:
    """What goes in, by its path in the pod's work folder; and the project's folder below the sources.

    Files that the step reads may lie above the project: the folder that holds all of them becomes the root.
    """
    above = max((len(Path(name).parts) for name in map(_upwards, job.files)), default=0)
    root = Path(job.project).resolve().parents[above - 1] if above else Path(job.project).resolve()
    project = Path(job.project).resolve().relative_to(root).as_posix()
    files: dict[str, Path | bytes] = {}
    for name in job.files:
        files[f"src/{os.path.normpath(Path(project) / name)}"] = Path(name)
    for outputs in context.outputs.values():  # files that the steps before it left, where their outputs name them
        for value in outputs.values():
            if isinstance(value, str) and value.startswith(".pipeline/") and (context.project / value).is_file():
                files[f"src/{os.path.normpath(Path(project) / value)}"] = Path(value)
    return files, project


def _upwards(name: str) -> str:
    return "/".join(part for part in Path(name).parts if part == "..")


def _bring_out(session: PodSession, out: Path) -> None:
    with session.fetch() as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            if Path(member.name).name not in OURS:
                archive.extract(member, out, filter="data")
