"""The layers of the configuration, merged with the origin of every value.

packaged defaults < platform file < project's pipeline.yml < environments.NAME < PIPELINE_TOOLS_* < --set
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline_tools.config import schema, source
from pipeline_tools.config.section import REFERENCE, Section
from pipeline_tools.config.source import Path_, Source, dotted
from pipeline_tools.errors import ConfigError
from pipeline_tools.names import nearest
from pipeline_tools.steps import registry

PREFIX = "PIPELINE_TOOLS_"
# Variables with our prefix that are not keys of the configuration.
RESERVED = frozenset({"PLATFORM", "LAB_DIR", "LAB_PORT", "CACHE"})
PROJECT_FILE = "pipeline.yml"
LOCKED: Path_ = ("locked",)
# How much of a wrong value an error repeats.
SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A value, the layer that set it and where (``pipeline.yml:12``, ``PIPELINE_TOOLS_NAME``, ``--set``)."""

    layer: str
    place: str
    value: Any


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The validated configuration.

    Attributes:
        values: the merged values that it is made of.
        origins: for every key that a layer set, what it was set to and where, the winner last.
        locks: the keys and sections that the platform file locks, and where it does.
    """

    config: schema.Config
    values: Mapping[str, Any]
    origins: Mapping[Path_, Sequence[Origin]]
    locks: Mapping[Path_, str]

    def lock(self, key: Path_) -> str | None:
        """Where ``key``, or a section that it is in, is locked; None when it is not."""
        return _lock(key, self.locks)


def platform_file(given: Path | None) -> Path | None:
    """The platform file: as given, $PIPELINE_TOOLS_PLATFORM, or the user's; None when there is none.

    Raises:
        ConfigError: it was named but does not exist.
    """
    variable = os.environ.get(f"{PREFIX}PLATFORM")
    named = given or (Path(variable) if variable else None)
    if named is None:
        default = Path("~/.config/pipeline-tools/platform.yml").expanduser()
        return default if default.is_file() else None
    if not named.exists():
        raise ConfigError(
            f"{'--platform' if given else f'{PREFIX}PLATFORM'}: the platform file {named} does not exist.",
            hint="Give one with --platform or PIPELINE_TOOLS_PLATFORM; `pipeline-tools lab up` writes one.",
        )
    return named


def projects(folder: Path) -> list[Path]:
    """The folders with a pipeline.yml: ``folder`` itself, or if it has none, those one or two below it, sorted.

    Where there is none at all it is ``folder``, of which `load` then says so.
    """
    if (folder / PROJECT_FILE).exists():
        return [folder]
    below = [found.parent for depth in ("*", "*/*") for found in folder.glob(f"{depth}/{PROJECT_FILE}")]
    own = [each for each in below if not any(part.startswith(".") for part in each.relative_to(folder).parts)]
    return sorted(own) or [folder]


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
        ConfigError: any layer is malformed, has an unknown key, a wrong type or a key that the platform file locks,
            with file and line.
    """
    path = project / PROJECT_FILE
    if not path.exists():
        below = [found.relative_to(project).as_posix() for found in projects(project) if found != project]
        raise ConfigError(
            f"There is no {PROJECT_FILE} in {project}.",
            hint=f"There is one in {', '.join(below)}: name one with --project {below[0]}."
            if below
            else "`pipeline-tools init` writes one; or name the project's folder with --project DIR.",
        )
    shared, locks = _shared(platform)
    own = [source.read(path, "project"), _from_environment(), _from_settings(settings)]
    for layer in own:
        _check(layer)
        _check_locks(layer, locks)
    merged = _merge([*shared, own[0]], own[1:], environment)
    values, origins = _put_together(merged)
    # of the files alone: variables have an order of their own
    order = _order([_environments(layer) for layer in (*shared, own[0])])
    values["environments"] = {name: values["environments"][name] for name in [*order, *values["environments"]]}
    try:
        config = schema.model().model_validate(values)
    except ValidationError as error:
        # every layer was checked alone: all that can be wrong with their sum is what none of them sets
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(
            f"{path}:1: the key {key!r} is missing.", hint=f"Add a line such as `{key}: my-service`."
        ) from error
    config.remember({".".join(key): found[-1].place for key, found in origins.items()})
    return Resolved(config=config, values=values, origins=origins, locks=locks)


def shared(platform: Path | None = None) -> tuple[Mapping[Path_, Sequence[Origin]], Mapping[Path_, str]]:
    """What is set outside of any project, as `Resolved.origins`, and the locks of the platform file.

    Raises: as `load`.
    """
    layers, locks = _shared(platform)
    variables = _from_environment()
    _check(variables)
    return _put_together([*layers, variables])[1], locks


def system(name: str, platform: Path | None = None) -> tuple[Section, Mapping[Path_, str]]:
    """The section of a system as it is outside of any project, and where each of its keys was set.

    Raises: as `load`.
    """
    layers, _ = _shared(platform)
    variables = _from_environment()
    _check(variables)
    values, _ = _put_together([*layers, variables])
    places = {key[1:]: place for layer in (*layers, variables) for key, place in layer.places.items() if key[0] == name}
    return schema.SYSTEMS[name].model_validate(values.get(name, {})), places


def _shared(platform: Path | None) -> tuple[list[Source], Mapping[Path_, str]]:
    with as_file(files("pipeline_tools.config") / "defaults.yml") as defaults:
        layers = [source.read(defaults, "default")]
    locks: Mapping[Path_, str] = {}
    if (found := platform_file(platform)) is not None:
        layer = source.read(found, "platform")
        locks = _take_locks(layer)
        layers.append(layer)
    for layer in layers:
        _check(layer)
    return layers, locks


def _merge(layers: Sequence[Source], late: Sequence[Source], environment: str | None) -> list[Source]:
    """The layers in their order, each environment section where it wins."""
    if environment is None:
        return [*layers, *late]
    names = {name for layer in (*layers, *late) for name in _environments(layer)}
    if environment not in names:
        raise ConfigError(
            f"--environment {environment}: there is no environment of this name.{nearest(environment, names)}",
            hint=f"The environments are: {', '.join(sorted(names))}.",
        )
    sections = [_environment_layer(layer, environment) for layer in layers]
    return [*layers, *sections, *(part for layer in late for part in (layer, _environment_layer(layer, environment)))]


def _put_together(layers: Iterable[Source]) -> tuple[dict[str, Any], dict[Path_, list[Origin]]]:
    values: dict[str, Any] = {}
    origins: dict[Path_, list[Origin]] = {}
    for layer in layers:
        for key, value in layer.values.items():
            put(values, key, value)
            if value != {}:
                origins.setdefault(key, []).append(Origin(layer=layer.layer, place=layer.place(key), value=value))
    return values, origins


def _environments(layer: Source) -> list[str]:
    """The environments that a layer names, in its order."""
    return list(dict.fromkeys(key[1] for key in layer.places if len(key) > 1 and key[0] == "environments"))


def _order(layers: Iterable[Sequence[str]]) -> list[str]:
    """The names of all layers, each layer's in its own order; where two layers differ, as the later one has it."""
    order: list[str] = []
    for names in layers:
        known = iter([name for name in names if name in order])
        order = [next(known) if name in names else name for name in order]
        for place, name in enumerate(names):
            if name not in order:
                # right after the one that it comes after, or before the one that it comes before
                after = order.index(names[place - 1]) + 1 if place else len(order)
                before = next((order.index(later) for later in names if later in order), len(order))
                order.insert(after if place else before, name)
    return order


def _environment_layer(layer: Source, name: str) -> Source:
    """The section of environment ``name`` as if it stood at the top."""
    prefix = ("environments", name)
    own = {path[2:]: value for path, value in layer.values.items() if path[:2] == prefix and len(path) > 3}
    places = {path[2:]: place for path, place in layer.places.items() if path[:2] == prefix and len(path) > 3}
    return Source(layer=f"{layer.layer}, environment {name}", values=own, places=places)


def _from_environment() -> Source:
    found = Source(layer="variable")
    for variable, text in sorted(os.environ.items()):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in RESERVED:
            continue
        path: Path_ = ()
        for part in name.split("__"):
            # the keys of a map (build_args) are the user's own, and stay as they are written
            mapped = path != ("environments",) and path and schema.keys(path) is None
            path = (*path, part if mapped else part.lower())
        valid = schema.keys(path[:-1])
        if len(path) == 1 and path[0] not in (valid or ()):
            names = [f"{PREFIX}{name.upper()}" for name in (*RESERVED, *schema.model().model_fields)]
            raise ConfigError(
                f"{variable}: there is no such variable.{nearest(variable, names)}",
                hint=f"{PREFIX}SCAN__NAMESPACE sets scan.namespace.",
            )
        _put_text(found, path, text, variable)
    return found


def _from_settings(settings: Sequence[str]) -> Source:
    found = Source(layer="flag")
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--set {key}: expected key=value.", hint="Such as --set scan.namespace=ci; the value is YAML."
            )
        _put_text(found, tuple(key.split(".")), text, f"--set {key}")
    return found


def _put_text(layer: Source, path: Path_, text: str, place: str) -> None:
    """Set a key from outside of a file, where quotes are hard to write: what must be text is text."""
    if text and schema.at(path) is str and text not in ("null", "~"):
        text = source.quoted(text)
    source.put(layer, path, text, place)


def put(values: dict[str, Any], path: Path_, value: Any) -> None:
    """Set a key of nested sections; an empty section leaves one that is there as it is."""
    for name in path[:-1]:
        values = values.setdefault(name, {})
    if value == {}:
        values.setdefault(path[-1], {})
    else:
        values[path[-1]] = value


def _take_locks(layer: Source) -> Mapping[Path_, str]:
    """Take the list ``locked`` out of the platform file: where each key or section is locked."""
    sections = [key for key in layer.places if key[:1] == LOCKED and len(key) > 1]
    names = layer.values.pop(LOCKED, [])
    if sections or not isinstance(names, list):
        raise ConfigError(f"{layer.place(LOCKED)}: locked: write a list of keys, such as [scan.enabled].")
    layer.places.pop(LOCKED, None)
    locks: dict[Path_, str] = {}
    for index, name in enumerate(names):
        place = layer.items.pop((*LOCKED, str(index)))
        path = tuple(str(name).split("."))
        for end in range(len(path)):
            valid = schema.keys(path[:end])
            if schema.at(path[: end + 1]) is None:
                raise ConfigError(
                    f"{place}: locked: there is no key {'.'.join(path[: end + 1])!r}.{nearest(path[end], valid or ())}",
                    hint=f"Valid there: {', '.join(valid)}." if valid else "",
                )
        locks[path] = place
    return locks


def _lock(key: Path_, locks: Mapping[Path_, str]) -> str | None:
    # a lock of verify.enabled is one of environments.test.verify.enabled as well
    inner = key[2:] if key[0] == "environments" else ()
    for lock, place in locks.items():
        if lock in (key[: len(lock)], inner[: len(lock)]):
            return place
    return None


def _check_locks(layer: Source, locks: Mapping[Path_, str]) -> None:
    for key in layer.values:
        if place := _lock(key, locks):
            raise ConfigError(
                f"{layer.place(key)}: {dotted(key)} is locked by the platform file ({place}).",
                hint="Remove it here; who keeps the platform file can change the value, or the lock, there.",
            )


def _check(layer: Source) -> None:
    """Refuse unknown keys, wrong shapes and wrong types; each layer alone, so that the losers are right as well."""
    for path, place in layer.places.items():
        _check_key(path, place)
    for path, value in layer.values.items():
        if schema.is_map(schema.at(path)) and value != {}:
            below = schema.keys(path)
            hint = f"Its keys are: {', '.join(below)}." if below else ""
            what = "is empty: give it keys, or remove the line" if value is None else "takes keys, not a value"
            raise ConfigError(f"{layer.place(path)}: {dotted(path)}: {what}.", hint=hint)
    values, _ = _put_together([layer])
    try:
        schema.model().model_validate(values)
    except ValidationError as error:
        wrong = [detail for detail in error.errors(include_url=False) if detail["type"] != "missing"]
        if wrong:
            first, *others = [_sentence(detail, layer) for detail in wrong]
            raise ConfigError(first[0], hint=first[1], details="\n".join(text for text, _ in others)) from error


def _check_key(path: Path_, place: str) -> None:
    above, name = path[:-1], ".".join(path)
    valid = schema.keys(above)
    if valid is None and not schema.is_map(schema.at(above)):
        raise ConfigError(f"{place}: {dotted(above)}: takes a value, not keys.")
    if valid is None or path[-1] in valid:
        return
    if path == LOCKED:
        raise ConfigError(f"{place}: unknown key 'locked'.", hint="Only the platform file can lock keys.")
    if len(path) == 3 and path[0] == "environments" and path[2] in registry():
        raise ConfigError(
            f"{place}: {name}: the step {path[2]!r} runs before any environment, once for all of them.",
            hint=f"Set {path[2]} at the top of the file.",
        )
    section = f"section {'.'.join(above)}" if above else "configuration"
    raise ConfigError(
        f"{place}: unknown key {name!r}.{nearest(path[-1], valid)}",
        hint=f"Valid keys of the {section}: {', '.join(valid)}.",
    )


def _sentence(detail: ErrorDetails, layer: Source) -> tuple[str, str]:
    """A finding of pydantic's as a sentence with file and line, and what to do."""
    path = tuple(str(part) for part in detail["loc"])
    given = detail["input"]
    own = tuple(part for part in path if part != "[key]")
    start = f"{layer.place(path)}: {dotted(own)}"
    if any(schema.is_reference(path[:end]) for end in range(1, len(path) + 1)):
        # someone may have pasted the secret itself: never repeat it
        return f"{start} {REFERENCE.advice}.", "Put the credential itself into a variable or a file."
    message = detail["msg"].removeprefix("Value error, ")
    # an address with a password in it is not repeated either
    shown = repr(given) if len(repr(given)) <= SHOWN else f"{repr(given)[:SHOWN]}…"
    text = f"{start}: {message[:1].lower() + message[1:]}" + ("." if "@" in shown else f" (it is {shown}).")
    return text, _advice(detail, given)


def _advice(detail: ErrorDetails, given: Any) -> str:
    if detail["type"] == "string_type" and isinstance(given, int | float) and not isinstance(given, bool):
        return f"Text that looks like a number needs quotes: '{given}'."
    if detail["type"] == "string_type" and isinstance(given, bool):
        return "YAML reads yes, no, on, off, true and false as switches: put quotes around text."
    if detail["type"] == "list_type" and isinstance(given, str):
        return f"Write a list, even of one: [{given}]." if "@" not in given and len(given) <= SHOWN else ""
    if detail["type"] == "literal_error":
        return nearest(str(given), re.findall("'([^']+)'", detail["ctx"]["expected"])).strip()
    return ""
