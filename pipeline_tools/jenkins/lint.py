"""Check a Jenkinsfile at the server: as Groovy always, as a declarative pipeline if it is one. Nothing of it is run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipeline_tools.errors import ConfigError
from pipeline_tools.masking import mask
from pipeline_tools.systems.jenkins import Controller, NotFound

COMPILE = "descriptorByName/org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition/checkScriptCompile"
DECLARATIVE = "pipeline-model-converter/validateJenkinsfile"
_PLACE = re.compile(r"\s*@ line (\d+), column (\d+)\.?")


def check(controller: Controller, file: Path) -> list[str]:
    """What is wrong with a Jenkinsfile, each as ``FILE:LINE:COLUMN: what``; empty: nothing.

    Raises:
        ConfigError: the file cannot be read, or the controller has no plugin for pipelines.
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}.", hint="Name the Jenkinsfile to check.") from error
    found = _compile(controller, text)
    if not found and re.search(r"^\s*pipeline\s*\{", text, re.MULTILINE):
        found = _declarative(controller, text)
    return [mask(f"{file}:{line}:{column}: {what}") for line, column, what in found]


def _compile(controller: Controller, text: str) -> list[tuple[int, int, str]]:
    answer = _post(controller, COMPILE, {"value": text})
    # an object when it is right, a list of what is wrong otherwise
    wrong = answer if isinstance(answer, list) else []
    return [(each["line"], each.get("column", 1), " ".join(each["message"].split())) for each in wrong]


def _declarative(controller: Controller, text: str) -> list[tuple[int, int, str]]:
    found = []
    for each in _post(controller, DECLARATIVE, {"jenkinsfile": text}).get("data", {}).get("errors", ()):
        told = each["error"]
        for said in [told] if isinstance(told, str) else told:
            place = _PLACE.search(said)
            line, column = (int(place[1]), int(place[2])) if place else (1, 1)
            words = re.sub(r"^(WorkflowScript: \d+: )?", "", _PLACE.sub("", said)).split("\n")[0]
            found.append((line, column, words.strip()))
    return found


def _post(controller: Controller, path: str, data: dict[str, str]) -> Any:
    try:
        return controller.ask("POST", path, data=data, repeatable=True).json()
    except NotFound as error:
        raise ConfigError(
            "Jenkins has no plugin that checks pipelines.",
            hint="It needs workflow-aggregator (Pipeline): resources/jenkins/plugins.txt has the list.",
        ) from error
