"""What Jenkins must know to render a plan, and what it shows of a build.

All of it is decided here: the Groovy steps do what these two documents say. `document` is what ``pipeline-tools plan
--json`` prints; `build` is ``build.json`` in the folder of a run that several commands make together.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipeline_tools.config.schema import Config
from pipeline_tools.errors import ConfigError, Interrupted, QualityError
from pipeline_tools.ledger import FOLDER
from pipeline_tools.masking import mask
from pipeline_tools.plan import Plan, PlannedStep, Stage, id_of
from pipeline_tools.preflight import needed
from pipeline_tools.step import GIT, GIT_SSH_KEY, Credential, Json
from pipeline_tools.steps import registry

FORM = 2
# What of a run is kept with the build, whatever its end.
ARCHIVED = ("report.html", "error.json", "events.jsonl")
BUILD = "build.json"
# What an approval's question shows of a digest.
SHORT = 19

# Gives the configuration of an environment (None: of none).
Configuration = Callable[[str | None], Config]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The build that asks for the plan.

    Attributes:
        folder: the project, as it is named in the build's workspace.
        run: name of the run that the build's steps are; None: each step is one.
        branch: branch of a multibranch job; None in any other job.
        change: number of the pull request that is built.
    """

    folder: str = "."
    run: str | None = None
    force: bool = False
    branch: str | None = None
    change: str | None = None


def caller(project: Path, *, force: bool, environ: Mapping[str, str]) -> Caller:
    """Who asks, from what Jenkins sets in the environment: the steps of one build are one run."""
    # a branch's name may have brought characters that no folder has, and be longer than one may be
    run = re.sub("[^A-Za-z0-9._-]", "-", environ.get("BUILD_TAG", ""))[-200:].lstrip("-._")
    return Caller(
        folder=os.path.relpath(project),
        run=run or None,
        force=force,
        branch=environ.get("BRANCH_NAME"),
        change=environ.get("CHANGE_ID"),
    )


def check_kind(plan: Plan, kind: str) -> None:
    """Look whether the project is of the kind that the Jenkinsfile says.

    Raises:
        ConfigError: it is of another one.
    """
    if plan.kind != kind:
        raise ConfigError(
            f"The Jenkinsfile has {kind}Pipeline(), but {plan.project} is of kind {plan.kind}.",
            hint=f"Use {plan.kind}Pipeline(), or set `kind: {kind}` in pipeline.yml.",
        )


def document(plan: Plan, steps: Sequence[PlannedStep], configuration: Configuration, asked: Caller) -> Json:
    """The plan as Jenkins renders it.

    Args:
        steps: those of the plan that were asked for; of them, those are left out that this build may not run.
    """
    refusal = _no_release(configuration(None), asked)
    skipped = _released(steps) if refusal else []
    chosen = [planned for planned in steps if planned not in skipped]
    stages: list[Any] = []
    for stage in plan.stages:
        kept = [[planned for planned in branch if planned in chosen] for branch in stage.branches]
        branches = [[_step(planned, configuration, asked) for planned in branch] for branch in kept if branch]
        if branches:
            # a later build that was faster is not overtaken where something is released
            milestone = len(stages) + 1 if stage.lock else None
            about = {"name": stage.name, "environment": stage.environment, "lock": stage.lock, "milestone": milestone}
            stages.append(
                {**about, "approval": _approval(plan, stage.environment, configuration), "branches": branches}
            )
    return {
        **plan.as_json(),
        "version": FORM,
        "run": f"{asked.folder}/{FOLDER}/runs/{asked.run}" if asked.run else f"{asked.folder}/{FOLDER}/latest",
        "stages": stages,
        "skipped": [{"id": planned.id, "step": planned.step, "reason": refusal} for planned in skipped],
    }


def _no_release(config: Config, asked: Caller) -> str | None:
    """Why this build may not release anything; None: it may."""
    if asked.change:
        return f"nothing is released from a pull request ({asked.change})"
    patterns = config.jenkins.deploy_from
    if asked.branch is not None and not any(fnmatchcase(asked.branch, pattern) for pattern in patterns):
        return f"nothing is released from the branch {asked.branch}: jenkins.deploy_from is {', '.join(patterns)}"
    return None


def _released(steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """The steps that others see, and those that build on such a one."""
    found: list[PlannedStep] = []
    for planned in steps:
        step = registry()[planned.step]
        needs = {id_of(name, planned.environment) for name in step.needs}
        if step.releases or needs & {each.id for each in found}:
            found.append(planned)
    return found


def _approval(plan: Plan, environment: str | None, configuration: Configuration) -> Json:
    """Who is asked, and how long; None where nobody is."""
    config = configuration(environment)
    place = config.environments.get(environment or "")
    if place is None or not place.approval:
        return None
    return {
        "id": f"deploy-{environment}",
        "question": f"Deploy {plan.project} to {str(environment).upper()}?",
        "ok": "Deploy",
        "submitter": ",".join(place.approvers),
        "timeout": int(config.jenkins.approval_timeout),
    }


def _step(planned: PlannedStep, configuration: Configuration, asked: Caller) -> Json:
    step, config = registry()[planned.step], configuration(planned.environment)
    words = ["step", planned.id, "--project", asked.folder, "--log-format", "plain"]
    words += ["--run", asked.run] if asked.run else []
    words += ["--force"] if asked.force else []
    return {
        "id": planned.id,
        "step": planned.step,
        "environment": planned.environment,
        "summary": planned.summary,
        "command": words,
        "credentials": list(bindings(needed(step, config), config, step.credentials)),
        "timeout": int(config.jenkins.step_timeout),
        "reports": dict(step.reports),
    }


def bindings(wanted: Sequence[Credential], config: Config, declared: Sequence[Credential] = ()) -> Iterator[Json]:
    """What `withCredentials` binds for a step: only what the configuration reads from a variable.

    Args:
        wanted: what the step needs under the configuration.
        declared: all that it may need: an SSH key is bound when `jenkins.credentials` names one.
    """
    ids = config.jenkins.credentials
    for credential in wanted:
        variables = [_variable(config.value(key), ours) for key, ours in _pairs(credential)]
        if any(variables):
            names = [found or ours for found, (_, ours) in zip(variables, _pairs(credential), strict=True)]
            yield {"id": ids.get(credential.id, credential.id), "type": credential.type, "variables": names}
    if GIT in declared and GIT_SSH_KEY.id in ids:
        yield {"id": ids[GIT_SSH_KEY.id], "type": GIT_SSH_KEY.type, "variables": list(GIT_SSH_KEY.variables)}


def _pairs(credential: Credential) -> list[tuple[str, str]]:
    return list(zip(credential.config, credential.variables, strict=True))


def _variable(value: str | None, ours: str) -> str | None:
    """The variable that a key's value is read from; None: it comes from elsewhere, a file or a Secret."""
    if value is None:
        return ours
    kind, _, name = value.partition(":")
    return name if kind == "env" else None


# ── a build ──


def build(record: Any, plan: Plan, config: Config, environ: Mapping[str, str]) -> Json:
    """What Jenkins shows of a build: name, description, questions of approvals, and how each step ended.

    Files in it are relative to the current folder, which is the build's workspace.

    Args:
        record: the run's record (`run.RunRecord`), of all the commands that make it.
    """
    number = environ.get("BUILD_NUMBER")
    errors = {error["step"]: error for error in record.errors}
    outputs = {step.id: step.outputs for step in record.steps}
    names = {planned.id: planned.step for planned in plan.steps()}
    whole = {
        "html": [_page(record.folder / "report.html", "pipeline-tools")] if config.jenkins.html == "publish" else []
    }
    return {
        "name": f"#{number} {record.version}" if number else record.version,
        "description": _description(record, errors, outputs, config),
        "questions": {stage.name: _question(record, plan, stage, outputs) for stage in plan.stages if stage.approval},
        "reports": whole,
        "steps": {
            step.id: _ended(record, step, names.get(step.id), errors.get(step.id), config) for step in record.steps
        },
    }


def could_not_begin(planned_id: str, error: Mapping[str, Json], before: Json) -> Json:
    """``build.json``, of which ``before`` is the content so far, with a step that was refused before it began."""
    known: Mapping[str, Any] = before or {"name": None, "description": "", "questions": {}, "reports": {}, "steps": {}}
    said = _told(planned_id, error)
    ended = {"result": "FAILURE", "message": said, "reports": {}}
    description = f"{known['description']}\n{said}".strip()
    return {**known, "description": description, "steps": {**known["steps"], planned_id: ended}}


def _result(error: Mapping[str, Json], config: Config) -> str:
    """Jenkins' word for how a step ended that failed with ``error``."""
    if error["exit_code"] == Interrupted.exit_code:
        return "ABORTED"
    if error["exit_code"] == QualityError.exit_code:
        return config.jenkins.quality.upper()
    return "FAILURE"


def _told(planned_id: str, error: Mapping[str, Json]) -> str:
    """An error in the two sentences that a build shows."""
    return mask(f"{planned_id}: {error['message']} {error['hint']}".strip())


def _ended(record: Any, step: Any, name: str | None, error: Mapping[str, Json] | None, config: Config) -> Json:
    """How a step ended; ``name`` is its declaration's, None when the plan does not have it."""
    passed = step.status in ("passed", "unchanged")
    about = {"result": "SUCCESS" if passed else "FAILURE", "message": f"{step.id}: {step.reason or step.status}"}
    if error:
        about = {"result": _result(error, config), "message": _told(step.id, error)}
    declared = registry()[name].reports if name else {}
    return {**about, "reports": _reports(record.folder, step.id, declared, step.outputs, config)}


def _reports(run: Path, step_id: str, declared: Mapping[str, str], outputs: Mapping[str, Json], config: Config) -> Json:
    """What the step left for Jenkins to publish, by what is done with it; of an earlier run if it did not run again."""
    files = {}
    for kind, file in declared.items():
        end = f"/steps/{step_id}/{file}"
        earlier = (
            run.parents[2] / value for value in outputs.values() if isinstance(value, str) and value.endswith(end)
        )
        path = next(earlier, run / "steps" / step_id / file)
        if path.is_file():
            files[kind] = path
    kept = [run / file for file in ARCHIVED] + [path for kind, path in files.items() if kind == "archive"]
    pages = [files["html"]] if "html" in files else []
    if config.jenkins.html == "archive":
        kept, pages = [*kept, *pages], []
    return {
        **{kind: os.path.relpath(path) for kind, path in files.items() if kind in ("junit", "coverage")},
        "html": [_page(path, step_id) for path in pages],
        "archive": ",".join(os.path.relpath(path) for path in kept),
    }


def _page(path: Path, name: str) -> Json:
    return {"dir": os.path.relpath(path.parent), "file": path.name, "name": name}


def _question(record: Any, plan: Plan, stage: Stage, outputs: Mapping[str, Mapping[str, Json]]) -> str:
    """What is asked before a stage: it names the digest that is to run there."""
    digest = outputs.get("image", {}).get("digest")
    proven = [step.id for step in record.steps if step.id.startswith("verify-") and step.status == "passed"]
    gate = outputs.get("scan", {}).get("gate")
    facts = [*([f"quality gate {gate}"] if gate else []), *([f"proven by {', '.join(proven)}"] if proven else [])]
    what = f"{plan.project} {record.version}" + (f" ({digest})" if digest else "")
    said = "; ".join(facts)
    return f"Deploy {what} to {stage.name}?" + (f" {said[0].upper()}{said[1:]}." if said else "")


def _description(
    record: Any,
    errors: Mapping[str | None, Mapping[str, Json]],
    outputs: Mapping[str, Mapping[str, Json]],
    config: Config,
) -> str:
    """A line each: what failed, the image, the gate, what is deployed where; with links to where people go on."""
    lines = [(_told(name or "run", error), str(error["link"] or "")) for name, error in errors.items()]
    if image := outputs.get("image"):
        lines.append((f"image {image['repository']}@{str(image['digest'])[:SHORT]}", _page_of(image, config)))
    if scan := outputs.get("scan"):
        lines.append((f"quality gate {scan['gate']}", str(scan["dashboard"])))
    if promoted := outputs.get("promote"):
        lines.append((f"promoted as {promoted['tag']}", ""))
    for step in record.steps:
        if step.id.startswith("verify-") and step.outputs:
            lines.append((f"{step.id.removeprefix('verify-').upper()} runs it", str(step.outputs["url"])))
    if config.jenkins.markup == "html":
        return mask("<br>".join(_linked(text, link) for text, link in lines))
    return mask("\n".join(f"{text} {link}".strip() for text, link in lines))


def _linked(text: str, link: str) -> str:
    shown = html.escape(text)
    return f'<a href="{html.escape(link)}">{shown}</a>' if link.startswith(("https://", "http://")) else shown


def _page_of(image: Mapping[str, Json], config: Config) -> str:
    """The image's page in Artifactory."""
    server = (config.artifactory.url or "").removesuffix("/artifactory")
    return f"{server}/ui/repos/tree/General/{str(image['repository']).partition('/')[2]}" if server else ""
