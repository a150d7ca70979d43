"""The files that are made from the steps' declarations: `make generate` writes them, CI fails on a difference."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from pipeline_tools import __version__
from pipeline_tools.config.schema import Generator, JenkinsAgent, json_schema
from pipeline_tools.plan import KINDS
from pipeline_tools.step import DURATION_PATTERN, SIZE_PATTERN, Json, Step
from pipeline_tools.steps import registry

GROOVY = "// Generated from the declaration by `make generate`.\n"
PAGE = "<!-- Generated from the declaration by `make generate`. -->\n"
# Unit of the texts with a form of their own, for people.
UNITS = {
    f"^{DURATION_PATTERN}$": ("duration", "ms, s, m, h, d"),
    f"^{SIZE_PATTERN}$": ("size", "bytes, k … T, Ki … Ti"),
}


# Parameters of the Jenkins steps, with what they are, for their pages.
PIPELINE_PARAMETERS = {
    "project": "folder with <code>pipeline.yml</code>, default <code>.</code>",
    "environment": "leave out the steps of other environments",
    "until": "stop after this step",
    "force": "run also what has not changed",
    "agent": "label of agents to use instead of a pod; <code>any</code> for every node",
    "retries": "how often the whole is tried when its agent is lost, default 2",
}
STEP_PARAMETERS = {
    "project": PIPELINE_PARAMETERS["project"],
    "environment": "the environment, for a step that has one",
    "force": "run it also when nothing has changed",
    "approver": "who approved, as <code>pipelineApproval</code> returns it",
}


def steps_json() -> str:
    """`resources/steps.json`: what Groovy must know before it can ask the tool."""
    steps = {
        step.name: {
            "summary": step.summary,
            "jenkins": jenkins_name(step),
            "credentials": [
                {"id": credential.id, "type": credential.type, "variables": list(credential.variables)}
                for credential in step.credentials
            ],
            "reports": dict(step.reports),
        }
        for step in registry().values()
    }
    parameters = {"pipeline": list(PIPELINE_PARAMETERS), "step": list(STEP_PARAMETERS)}
    return _text(
        {
            "version": 2,
            "library": __version__,
            "parameters": parameters,
            "agent": JenkinsAgent().model_dump(mode="json"),
            "steps": steps,
        }
    )


def jenkins_name(step: Step[Any]) -> str:
    """The name of a step in the Jenkins library."""
    return step.jenkins or f"run{step.name.capitalize()}"


def jenkins_files() -> Mapping[str, str]:
    """The Groovy step, with its page, of each step and of each kind's pipeline."""
    files = {}
    for step in registry().values():
        name = jenkins_name(step)
        files[f"vars/{name}.groovy"] = (
            f"{GROOVY}/** The step `{step.name}`: {step.summary}. */\n"
            "def call(Map parameters = [:]) {\n"
            f"    pipelinePlugins {{ pipelineStep(parameters, '{step.name}') }}\n}}\n"
        )
        example = f"{name}(environment: 'test')" if step.per_environment else f"{name}()"
        files[f"vars/{name}.txt"] = _help(
            f"<code>{example}</code> runs the step <code>{step.name}</code>: {step.summary}.",
            STEP_PARAMETERS,
            f"<p>Credentials: {', '.join(f'<code>{each.id}</code>' for each in step.credentials) or 'none'}; "
            "<code>jenkins.credentials</code> of the platform file may name others. Keys of "
            f"<code>pipeline.yml</code>: <code>docs/steps/{step.name}.md</code>.</p>",
        )
    for kind, steps in KINDS.items():
        files[f"vars/{kind}Pipeline.groovy"] = (
            f"{GROOVY}/** The whole pipeline of a project of kind `{kind}`. */\n"
            f"def call(Map parameters = [:]) {{\n    pipelineOf(parameters, '{kind}')\n}}\n"
        )
        files[f"vars/{kind}Pipeline.txt"] = _help(
            f"<code>{kind}Pipeline()</code> is the whole Jenkinsfile of a project of kind <code>{kind}</code>: "
            f"{', '.join(steps)}, as <code>pipeline-tools plan</code> orders them.",
            PIPELINE_PARAMETERS,
            "<p><code>environment</code>, <code>until</code> and <code>force</code> are parameters of the job as well; "
            "there they win.</p>",
        )
    return files


def _help(first: str, parameters: Mapping[str, str], last: str) -> str:
    """A page of Jenkins' own reference."""
    rows = "\n".join(f"  <li><code>{name}</code>: {about}</li>" for name, about in parameters.items())
    return f"{PAGE}<p>{first}</p>\n<p>Parameters:</p>\n<ul>\n{rows}\n</ul>\n{last}\n"


def schema_text(form: Literal["project", "platform"]) -> str:
    """The JSON Schema of a project's `pipeline.yml`, or of the platform file."""
    return _text(json_schema(form))


def page(step: Step[Any]) -> str:
    """The reference page of a step, in Markdown."""
    schema = step.inputs.model_json_schema(schema_generator=Generator)
    inputs = list(_inputs("", schema, schema.get("$defs", {})))
    outputs = [(f"`{name}`", description) for name, description in step.outputs.items()]
    parts = [
        "<!-- Generated from the step's declaration by `make generate`. -->",
        f"# {step.name}",
        f"{step.summary[0].upper()}{step.summary[1:]}. Stage: {step.stage}"
        + (", once in each environment." if step.per_environment else "."),
        f"```console\n$ pipeline-tools step {step.name}{' --environment test' if step.per_environment else ''}\n```",
        f"```yaml\n{step.example}```",
        "## Inputs",
        f"Keys of the section `{step.name}`, all optional.",
        _table(("key", "type", "default", "unit", "what it is"), inputs),
        "## Outputs",
        _table(("name", "what it is"), outputs),
        "## What it needs",
        "\n".join(f"- {line}" for line in _needs(step)) or "Nothing.",
    ]
    return "\n\n".join(parts) + "\n"


def index() -> str:
    """The list of the steps' pages."""
    rows = [(f"[{step.name}]({step.name}.md)", step.stage, step.summary) for step in registry().values()]
    lines = ["<!-- Generated from the steps' declarations by `make generate`. -->", "# Steps"]
    return "\n\n".join([*lines, _table(("step", "stage", "what it does"), rows)]) + "\n"


def generated() -> Mapping[str, str]:
    """Path, relative to the checkout, and content of every generated file."""
    pages = {f"docs/steps/{step.name}.md": page(step) for step in registry().values()}
    return {
        "resources/steps.json": steps_json(),
        "resources/pipeline.schema.json": schema_text("project"),
        "resources/platform.schema.json": schema_text("platform"),
        "docs/steps/README.md": index(),
        **pages,
        **jenkins_files(),
    }


def generate(checkout: Path, *, check: bool) -> int:
    """Write the generated files, or with ``check`` only compare and name each that differs.

    Returns:
        1 when ``check`` found a difference (a page of a step that is gone is one), else 0.
    """
    files = {checkout / name: text for name, text in generated().items()}
    gone = set((checkout / "docs" / "steps").glob("*.md")) - files.keys()
    ours = {path for path in (checkout / "vars").glob("*") if path.read_text("utf-8").startswith((GROOVY, PAGE))}
    gone |= ours - files.keys()
    differing = [path for path, text in files.items() if not path.is_file() or path.read_text("utf-8") != text]
    for path in sorted([*differing, *gone]):
        name = path.relative_to(checkout)
        if check:
            click.echo(f"{name} is out of date: run `make generate` and commit it.", err=True)
        elif path in gone:
            path.unlink()
            click.echo(f"removed {name}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
            click.echo(f"wrote {name}")
    return 1 if check and (differing or gone) else 0


def _text(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _inputs(above: str, schema: Mapping[str, Any], sections: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A row for each key of a section, those of the sections in it included."""
    for name, about in schema["properties"].items():
        if "$ref" in about:
            yield from _inputs(f"{above}{name}.", sections[about["$ref"].rpartition("/")[2]], sections)
            continue
        kind, unit = _type(about)
        default = json.dumps(about.get("default"), ensure_ascii=False)
        yield f"`{above}{name}`", kind, f"`{default}`", unit, about["description"]


def _type(about: Mapping[str, Any]) -> tuple[str, str]:
    """Type and unit of an input, for people."""
    if "anyOf" in about:
        (kind, unit), *_ = [_type(one) for one in about["anyOf"] if one["type"] != "null"]
        return f"{kind} or null", unit
    if about.get("pattern") in UNITS:
        return UNITS[about["pattern"]]
    if about["type"] == "array":
        return f"list of {_type(about['items'])[0]}s", ""
    if about["type"] == "object":
        values = about["additionalProperties"]
        return "map" if values is True else f"map of {_type(values)[0]}s", ""
    return {"string": "text", "boolean": "true or false", "integer": "number"}[about["type"]], ""


def _needs(step: Step[Any]) -> Iterator[str]:
    if step.needs:
        yield f"steps that passed before: {', '.join(f'[{name}]({name}.md)' for name in step.needs)}"
    if step.requires:
        yield f"keys that are set: {', '.join(f'`{key}`' for key in step.requires)}"
    if step.systems:
        yield f"sections that it reads besides its own: {', '.join(f'`{name}`' for name in step.systems)}"
    for credential in step.credentials:
        keys, variables = (
            ", ".join(f"`{name}`" for name in names) for names in (credential.config, credential.variables)
        )
        if_needed = ", where the configuration has a use for it" if step.asks else ""
        yield f"credential `{credential.id}` ({credential.type}){if_needed}: {keys}; Jenkins binds {variables}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in escaped)
