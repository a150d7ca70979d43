"""Looking at the configuration: what a key is and who set it, what every layer set, and the whole as it is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from pipeline_tools.config import schema
from pipeline_tools.config.layers import Origin, Resolved
from pipeline_tools.config.source import Path_
from pipeline_tools.errors import ConfigError
from pipeline_tools.names import nearest
from pipeline_tools.step import Json


def explain(resolved: Resolved, key: str) -> Iterator[str]:
    """Lines that tell where the value of ``key`` (``scan.gate_timeout``) comes from, and who locked it.

    Raises:
        ConfigError: there is no such key; with the nearest one.
    """
    path = tuple(key.split("."))
    value = _find(resolved, path)
    below = [other for other in resolved.origins if other[: len(path)] == path and other != path]
    if isinstance(value, BaseModel):
        yield f"{key}: a section with {', '.join(type(value).model_fields)}"
    else:
        yield f"{key} = {_text(resolved, path)}"
    declared = schema.field(path)
    if declared is not None and declared.description:
        yield f"  {declared.description}"
    origins = resolved.origins.get(path, ())
    if not origins and path[0] == "environments" and len(path) > 3:
        yield f"  not set in this environment: `--environment {path[1]}` shows {'.'.join(path[2:])} as it sees it"
    elif not origins and not below and not isinstance(value, BaseModel):
        yield "  set by: the default in the declaration"
    for number, origin in enumerate(reversed(origins)):
        word = "set by" if number == 0 else "overrode"
        yield f"  {word}: {origin.place} ({origin.layer}): {origin.value!r}"
    for other in below:
        yield f"  {_line(resolved, other)}"
    if place := resolved.lock(path):
        yield f"  locked: {place}: no project, environment, variable or flag can set it"


def overview(resolved: Resolved) -> Iterator[str]:
    """A line for each key that a layer set: its value and the layer that won."""
    for path in resolved.origins:
        yield _line(resolved, path)


def whole(resolved: Resolved, *, defaults: bool) -> Json:
    """The configuration as pipeline.yml would say it; with ``defaults`` also the keys that no layer set."""
    shown = resolved.config.model_dump(mode="json", exclude_unset=not defaults)
    if defaults:
        # what an environment does not set is not its default, but what stands outside of it
        environments = resolved.config.environments.items()
        shown["environments"] = {name: each.model_dump(mode="json", exclude_unset=True) for name, each in environments}
    return shown


def _line(resolved: Resolved, path: Path_) -> str:
    origin: Origin = resolved.origins[path][-1]
    lock = resolved.lock(path)
    note = f", locked at {lock}" if lock else ""
    return f"{'.'.join(path)} = {_text(resolved, path)}  ({origin.layer}: {origin.place}{note})"


def _text(resolved: Resolved, path: Path_) -> str:
    """The value as a file would say it: ``15m``, not 900 seconds."""
    value: Any = resolved.config.model_dump(mode="json")
    for name in path:
        value = value[name]
    return repr(value)


def _find(resolved: Resolved, path: Path_) -> Any:
    value: Any = resolved.config
    for end, name in enumerate(path):
        if isinstance(value, BaseModel):
            names = list(type(value).model_fields)
        else:
            names = [str(key) for key in value] if isinstance(value, dict) else []
        if name not in names:
            full, above = ".".join(path[: end + 1]), ".".join(path[:end])
            hint = f"Valid there: {', '.join(names)}." if names else f"{above} has no keys."
            raise ConfigError(f"There is no key {full!r}.{nearest(name, names)}", hint=hint)
        value = getattr(value, name) if isinstance(value, BaseModel) else value[name]
    return value
