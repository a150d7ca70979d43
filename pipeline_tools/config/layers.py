"""The layers of the configuration, merged with the origin of every value.

packaged defaults < platform file < project's pipeline.yml < environments.NAME < PIPELINE_TOOLS_* < --set
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline_tools.config import schema, source
from pipeline_tools.config.source import Path_, Source
from pipeline_tools.errors import ConfigError

PREFIX = "PIPELINE_TOOLS_"
# Variables with our prefix that are not keys of the configuration.
RESERVED = frozenset({"PLATFORM", "LAB_DIR", "LAB_PORT", "CACHE"})
PROJECT_FILE = "pipeline.yml"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A value, the layer that set it and where (``pipeline.yml:12``, ``PIPELINE_TOOLS_NAME``, ``--set``)."""

    layer: str
    place: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The validated configuration, the merged values that it is made of, and the origins of each, the winner last."""

    config: schema.Config
    values: Mapping[str, Any]
    origins: Mapping[Path_, Sequence[Origin]]


def platform_file(given: Path | None) -> Path | None:
    """The platform file: as given, $PIPELINE_TOOLS_PLATFORM, or the user's; None when there is none.

    Raises:
        ConfigError: it was named but does not exist.
    """
    named = given or (Path(value) if (value := os.environ.get(f"{PREFIX}PLATFORM")) else None)
    if named is None:
        default = Path("~/.config/pipeline-tools/platform.yml").expanduser()
        return default if default.is_file() else None
    if not named.is_file():
        raise ConfigError(
            f"The platform file {named} does not exist.",
            hint="Give one with --platform or PIPELINE_TOOLS_PLATFORM; `pipeline-tools lab up` writes one.",
        )
    return named


def load(
    project: Path,
    *,
    platform: Path | None = None,
    environment: str | None = None,
    settings: Sequence[str] = (),
) -> Resolved:
    """Read, check and merge the layers.

    Args:
        project: the folder with pipeline.yml.
        environment: whose section is merged over the rest.
        settings: ``key=value`` from the command line.

    Raises:
        ConfigError: any layer is malformed, has an unknown key or a wrong type, with file and line.
    """
    path = project / PROJECT_FILE
    if not path.is_file():
        raise ConfigError(
            f"There is no {PROJECT_FILE} in {project}.",
            hint="Go to the project's folder, or name it with --project DIR; the file needs at least `name: x`.",
        )
    with as_file(files("pipeline_tools.config") / "defaults.yml") as defaults:
        packaged = source.read(defaults, "default")
    shared = [packaged]
    if (found := platform_file(platform)) is not None:
        shared.append(source.read(found, "platform"))
    own = source.read(path, "project")
    layers = [*shared, own]
    for layer in layers:
        _check_keys(layer)
    late = [_from_environment(), _from_settings(settings)]
    for layer in late:
        _check_keys(layer)

    names = {path[1] for layer in layers for path in layer.places if len(path) > 1 and path[0] == "environments"}
    if environment is not None and environment not in names:
        raise ConfigError(
            f"There is no environment {environment!r}.{_nearest(environment, names)}",
            hint=f"The environments are: {', '.join(sorted(names))}.",
        )
    merged = [*layers, *(_environment_layer(layer, environment) for layer in layers if environment), *late]
    origins: dict[Path_, list[Origin]] = {}
    values: dict[str, Any] = {}
    for layer in merged:
        for key, value in layer.values.items():
            _put(values, key, value)
            place = layer.places.get(key, layer.layer)
            origins.setdefault(key, []).append(Origin(layer=layer.layer, place=place, value=value))
    try:
        config = schema.model().model_validate(values)
    except ValidationError as error:
        raise _explained(error, origins, project) from error
    return Resolved(config=config, values=values, origins=origins)


def _environment_layer(layer: Source, name: str | None) -> Source:
    """The section of environment ``name`` as if it stood at the top."""
    prefix = ("environments", str(name))
    own = {path[2:]: value for path, value in layer.values.items() if path[:2] == prefix and len(path) > 3}
    places = {path[2:]: place for path, place in layer.places.items() if path[:2] == prefix and len(path) > 3}
    return Source(layer=f"{layer.layer}, environment {name}", values=own, places=places)


def _from_environment() -> Source:
    found = Source(layer="variable", values={}, places={})
    for variable, text in sorted(os.environ.items()):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in RESERVED:
            continue
        path = tuple(part.lower() for part in name.split("__"))
        found.values[path] = _scalar(text, variable)
        found.places[path] = variable
    return found


def _from_settings(settings: Sequence[str]) -> Source:
    found = Source(layer="flag", values={}, places={})
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {setting}: expected key=value, such as --set scan.namespace=ci.")
        path = tuple(key.split("."))
        found.values[path] = _scalar(text, f"--set {key}")
        found.places[path] = f"--set {key}"
    return found


def _scalar(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: the value is not valid YAML.") from error


def _put(values: dict[str, Any], path: Path_, value: Any) -> None:
    for name in path[:-1]:
        below = values.get(name)
        if not isinstance(below, dict):
            below = values[name] = {}
        values = below
    if not (value == {} and isinstance(values.get(path[-1]), dict)):
        values[path[-1]] = value


def _nearest(name: str, valid: Any) -> str:
    close = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def _check_keys(layer: Source) -> None:
    for path, place in sorted(layer.places.items(), key=lambda item: item[0]):
        valid = schema.keys(path[:-1])
        if valid is not None and path[-1] not in valid:
            section = f"section {'.'.join(path[:-1])}" if len(path) > 1 else "configuration"
            raise ConfigError(
                f"{place}: unknown key {'.'.join(path)!r}.{_nearest(path[-1], valid)}",
                hint=f"Valid keys of the {section}: {', '.join(valid)}.",
            )


def _explained(error: ValidationError, origins: Mapping[Path_, Sequence[Origin]], project: Path) -> ConfigError:
    """The first of pydantic's findings as a sentence with file and line, the others as details."""
    lines = [_sentence(detail, origins, project) for detail in error.errors(include_url=False)]
    return ConfigError(
        lines[0],
        hint="`pipeline-tools config explain KEY` shows where a value comes from.",
        details="\n".join(lines[1:]),
    )


def _sentence(detail: ErrorDetails, origins: Mapping[Path_, Sequence[Origin]], project: Path) -> str:
    path = tuple(str(part) for part in detail["loc"])
    key = ".".join(path)
    if detail["type"] == "missing":
        return f"{project / PROJECT_FILE}: the key {key!r} is missing."
    place = next((origins[path[:end]][-1].place for end in range(len(path), 0, -1) if path[:end] in origins), key)
    if "credential" in key or path[-1] in ("username", "password", "token"):
        # someone may have pasted the secret itself: never repeat it
        return f"{place}: {key} must be a reference: env:NAME, file:PATH or secret:NAMESPACE/NAME/KEY."
    message = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {key}: {message[:1].lower() + message[1:]} (it is {detail['input']!r})."
