"""Reading YAML so that every value knows its line, and so that no file, however made, takes long or much."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline_tools.errors import ConfigError

Path_ = tuple[str, ...]

# Far above what a configuration needs, far below what keeps the parser busy for more than a few seconds.
LIMIT_BYTES = 256 * 1024
# With every alias followed: a few lines of aliases to aliases are billions of values.
LIMIT_VALUES = 10_000
LIMIT_DEPTH = 50
MERGE = "tag:yaml.org,2002:merge"

Place = Callable[[yaml.Node], str]


class _Loader(yaml.SafeLoader):
    """JSON's types only: a date stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One layer: its values, flat (``("scan", "namespace")`` → value), and where each was set (``pipeline.yml:12``).

    ``items`` tells where each item of a list stands: ``("test", "paths", "0")`` → ``pipeline.yml:13``.
    """

    layer: str
    values: dict[Path_, Any] = field(default_factory=dict)
    places: dict[Path_, str] = field(default_factory=dict)
    items: dict[Path_, str] = field(default_factory=dict)

    def place(self, key: Path_) -> str:
        """Where ``key``, an item of its list, or the section that it is in, was set."""
        known = self.places | self.items
        return next((known[key[:end]] for end in range(len(key), 0, -1) if key[:end] in known), self.layer)


def read(path: Path, layer: str) -> Source:
    """Read a YAML file of nested mappings.

    Raises:
        ConfigError: it cannot be read, is too large, is not YAML, has a key twice, or aliases that have no end; with
            file and line.
    """
    text = _text(path)
    source = Source(layer=layer)
    node = _compose(text, lambda line: f"{path}:{line}")
    if node is None:
        return source
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:1: expected keys and values, such as `name: my-service`.")
    _add(source, (), node, lambda node: f"{path}:{node.start_mark.line + 1}")
    return source


def put(source: Source, key: Path_, text: str, place: str) -> None:
    """Set ``key`` of ``source`` to the value that ``text`` is in YAML.

    Raises:
        ConfigError: as `read`, with ``place`` instead of file and line.
    """
    source.places[key] = place
    node = _compose(text, lambda _: place)
    if node is None:
        source.values[key] = None
    else:
        _add(source, key, node, lambda _: place)


def dotted(key: Path_) -> str:
    """A key for people; escaped, when it has line breaks or the like in it."""
    text = ".".join(key)
    return text if text.isprintable() else repr(text)


def quoted(text: str) -> str:
    """``text`` as a YAML text, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "is not a file"
            raise ConfigError(f"{path}: {what}.")
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"{path}: is larger than {LIMIT_BYTES // 1024} KiB.", hint="Is it the right file?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text.", hint="Save the file as UTF-8.") from error


def _compose(text: str, at: Callable[[int], str]) -> yaml.Node | None:
    """The tree of a YAML text; ``at`` tells the place of a line."""
    loader = None
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = at(mark.line + 1 if mark else 1)
        raise _invalid(place, error) from error
    except yaml.reader.ReaderError as error:
        place = at(text.count("\n", 0, error.position) + 1)
        raise ConfigError(f"{place}: has a character that YAML does not allow (code {error.character}).") from error
    except RecursionError as error:
        assert loader is not None
        raise ConfigError(f"{at(loader.line + 1)}: is nested too deeply.") from error
    except (ValueError, OverflowError) as error:
        # PyYAML reads what stands behind %YAML, or an escape such as \UFFFFFFFF, as a number of any size
        assert loader is not None
        raise ConfigError(f"{at(loader.line + 1)}: is not valid YAML: a number is out of bounds.") from error
    if node is not None:
        _check_nodes(node, lambda node: at(node.start_mark.line + 1))
    return node


def _invalid(place: str, error: yaml.MarkedYAMLError) -> ConfigError:
    problem = error.problem or error.context or "unreadable"
    if problem.startswith(("found undefined alias", "could not determine a constructor")):
        # what follows may be a pasted secret that begins with * or !: never repeat it
        problem = problem.partition(" '")[0]
    return ConfigError(f"{place}: is not valid YAML: {problem}.", hint=_advice(problem))


def _advice(problem: str) -> str:
    if "alias" in problem or "constructor" in problem:
        return "A text that begins with *, & or ! needs quotes."
    if "'\\t'" in problem:
        return "Indent with spaces: YAML allows no tabs there."
    if "mapping values are not allowed" in problem:
        return "Is the line indented as its neighbours? A text with `: ` in it needs quotes."
    if "single document" in problem or "another document" in problem:
        return "One file is one document: remove the line `---`."
    return ""


def _check_nodes(root: yaml.Node, place: Place) -> None:
    """Refuse half characters, and what is endless, or as good as endless, once every alias is followed."""
    count = 0
    todo: list[tuple[yaml.Node, frozenset[int]]] = [(root, frozenset())]
    while todo:
        node, above = todo.pop()
        count += 1
        if id(node) in above:
            raise ConfigError(f"{place(node)}: an alias in it stands for the whole: it has no end.")
        if count > LIMIT_VALUES:
            raise ConfigError(f"{place(node)}: with its aliases followed it has more than {LIMIT_VALUES} values.")
        if len(above) > LIMIT_DEPTH:
            raise ConfigError(f"{place(node)}: is nested too deeply.")
        if isinstance(node, yaml.ScalarNode) and any("\ud800" <= character <= "\udfff" for character in node.value):
            raise ConfigError(f"{place(node)}: has half of a character (an escape such as \\uD800).")
        if isinstance(node, yaml.MappingNode):
            below = [part for pair in node.value for part in pair]
        else:
            below = node.value if isinstance(node, yaml.SequenceNode) else []
        inside = above | {id(node)}
        todo += [(part, inside) for part in below]


def _add(source: Source, key: Path_, node: yaml.Node, place: Place) -> None:
    if isinstance(node, yaml.MappingNode):
        if not node.value and key:
            source.values[key] = {}
        for name, (key_node, value_node) in _pairs(node, key, place).items():
            source.places[(*key, name)] = place(key_node)
            _add(source, (*key, name), value_node, place)
        return
    source.values[key] = _construct(node, place)
    if isinstance(node, yaml.SequenceNode):
        source.items.update({(*key, str(index)): place(item) for index, item in enumerate(node.value)})


def _pairs(node: yaml.MappingNode, prefix: Path_, place: Place) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """The keys of a mapping and, after them, those that ``<<`` merges into it and that it has not itself."""
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    merged: list[yaml.Node] = []
    for key_node, value_node in node.value:
        if key_node.tag == MERGE:
            merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{place(key_node)}: a key must be a plain name.")
        key = str(key_node.value)
        if key in pairs:
            raise ConfigError(
                f"{place(key_node)}: the key {dotted((*prefix, key))} stands here a second time.",
                hint=f"The first one is at {place(pairs[key][0])}: keep one of them.",
            )
        pairs[key] = (key_node, value_node)
    for other in merged:
        if not isinstance(other, yaml.MappingNode):
            raise ConfigError(f"{place(other)}: `<<` merges a section: give it an alias of one (`<<: *name`).")
        for key, pair in _pairs(other, prefix, place).items():
            pairs.setdefault(key, pair)
    return pairs


def _construct(node: yaml.Node, place: Place) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise _invalid(place(node), error) from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # a tag may promise what the text is not (`!!int x`): PyYAML does not check
        raise ConfigError(f"{place(node)}: the value is not what its tag or its form promises.") from error
    finally:
        loader.dispose()
