"""``config explain``: the value of a key, the layer that set it and what it overrode."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from pipeline_tools.config.layers import Resolved, _nearest
from pipeline_tools.errors import ConfigError


def _names(value: object) -> list[str]:
    if isinstance(value, BaseModel):
        return list(type(value).model_fields)
    return [str(name) for name in value] if isinstance(value, dict) else []


def explain(resolved: Resolved, key: str) -> Iterator[str]:
    """Lines that tell where the value of ``key`` (``scan.gate_timeout``) comes from.

    Raises:
        ConfigError: there is no such key; with the nearest one.
    """
    path = tuple(key.split("."))
    value: object = resolved.config
    description = ""
    seen: tuple[str, ...] = ()
    for name in path:
        names = _names(value)
        if name not in names:
            full = ".".join((*seen, name))
            raise ConfigError(
                f"There is no key {full!r}.{_nearest(name, names)}", hint=f"Valid here: {', '.join(names)}."
            )
        if isinstance(value, BaseModel):
            description = type(value).model_fields[name].description or ""
            value = getattr(value, name)
        elif isinstance(value, dict):
            value = value[name]
        seen = (*seen, name)
    if isinstance(value, BaseModel):
        yield f"{key}: a section with {', '.join(type(value).model_fields)}"
        return
    yield f"{key} = {value!r}"
    if description:
        yield f"  {description}"
    origins = resolved.origins.get(path, ())
    if not origins:
        yield "  set by: the default in the declaration"
    for number, origin in enumerate(reversed(origins)):
        word = "set by" if number == 0 else "overrode"
        yield f"  {word}: {origin.place} ({origin.layer}): {origin.value!r}"
