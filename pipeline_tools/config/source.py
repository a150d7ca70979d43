"""Reading a YAML file so that every value knows its line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline_tools.errors import ConfigError

Path_ = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One layer: its values, flat (``("scan", "namespace")`` → value), and where each was set (``pipeline.yml:12``)."""

    layer: str
    values: dict[Path_, Any]
    places: dict[Path_, str]


def read(path: Path, layer: str) -> Source:
    """Read a YAML file of nested mappings.

    Raises:
        ConfigError: it cannot be read, is not YAML, or has a key twice; with file and line.
    """
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: is not valid YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not valid YAML: {error}.") from error
    source = Source(layer=layer, values={}, places={})
    if node is None:
        return source
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:1: expected keys and values, such as `name: my-service`.")
    _flatten(node, (), path, source)
    return source


def _flatten(node: yaml.MappingNode, prefix: Path_, path: Path, source: Source) -> None:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{path}:{line}: a key must be a plain name.")
        key = str(key_node.value)
        if key in seen:
            raise ConfigError(f"{path}:{line}: the key {'.'.join((*prefix, key))} stands here a second time.")
        seen.add(key)
        here = (*prefix, key)
        source.places[here] = f"{path}:{line}"
        if isinstance(value_node, yaml.MappingNode):
            source.values.setdefault(here, {}) if not value_node.value else None
            _flatten(value_node, here, path, source)
        else:
            source.values[here] = _construct(value_node)


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(f"line {node.start_mark.line + 1}: {error}") from error
    finally:
        loader.dispose()
