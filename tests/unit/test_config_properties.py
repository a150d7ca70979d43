"""Whatever the layers say: the last one wins, nothing is without an origin, and no text makes us fall over."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_tools.config import schema
from pipeline_tools.config.explain import explain, overview
from pipeline_tools.config.layers import PREFIX, Resolved, load
from pipeline_tools.errors import ConfigError
from pipeline_tools.step import duration, duration_text, size, size_text

LAYERS = ("platform", "project", "platform, environment test", "project, environment test", "variable", "flag")
# A key of each type, with values of it; all of them may stand in an environment.
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "deploy.namespace": st.sampled_from(["a", "b", "c"]),
    "deploy.enabled": st.booleans(),
    "deploy.timeout": st.sampled_from(["1s", "2m", "3h"]),
    "jenkins.agent.memory": st.sampled_from(["1Gi", "512Mi"]),
    "deploy.values": st.lists(st.sampled_from(["x", "y"]), max_size=3),
    "deploy.settings.ONE": st.sampled_from(["1", "yes", "z"]),
    "deploy.settings.TWO": st.sampled_from(["1", "yes", "z"]),
    "sonarqube.token": st.sampled_from(["env:A", "file:b", "secret:a/b/c"]),
    "kubernetes.context": st.sampled_from(["k", None]),
}
Layers = dict[str, dict[str, Any]]


@st.composite
def layers(draw: st.DrawFn) -> Layers:
    return {
        layer: {key: draw(VALUES[key]) for key in draw(st.sets(st.sampled_from(sorted(VALUES))))} for layer in LAYERS
    }


def nested(keys: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in keys.items():
        *above, name = key.split(".")
        section = found
        for part in above:
            section = section.setdefault(part, {})
        section[name] = value
    return found


@contextmanager
def project(files: Mapping[str, str | bytes], variables: Mapping[str, str]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name, mock.patch.dict(os.environ, variables):
        for file, text in files.items():
            (Path(name) / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        yield Path(name)


def resolve(given: Layers) -> Resolved:
    texts = {}
    for file in ("platform", "project"):
        whole = nested(given[file]) | ({"name": "x"} if file == "project" else {})
        if section := nested(given[f"{file}, environment test"]):
            whole["environments"] = {"test": section}
        texts["platform.yml" if file == "platform" else "pipeline.yml"] = yaml.safe_dump(whole)
    # the keys of a map keep their case, all others are lower
    variables = {
        PREFIX + "__".join(part if part in ("ONE", "TWO") else part.upper() for part in key.split(".")): dumped(value)
        for key, value in given["variable"].items()
    }
    flags = [f"{key}={dumped(value)}" for key, value in given["flag"].items()]
    with project(texts, variables) as folder:
        return load(folder, platform=folder / "platform.yml", environment="test", settings=flags)


def dumped(value: Any) -> str:
    """A value as someone types it in a shell: text as it is, all else as YAML."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def typed(key: str, value: Any) -> Any:
    return {"deploy.timeout": duration, "jenkins.agent.memory": size}.get(key, lambda same: same)(value)


def current(resolved: Resolved, key: str) -> Any:
    value: Any = resolved.config
    for part in key.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


@settings(max_examples=80, deadline=None)
@given(layers())
def test_the_last_layer_that_sets_a_key_wins_and_every_origin_is_known(given: Layers) -> None:
    resolved = resolve(given)
    for key in VALUES:
        setting = [layer for layer in LAYERS if key in given[layer]]
        origins = resolved.origins.get(tuple(key.split(".")), ())
        assert [origin.layer for origin in origins] == setting
        if setting:
            assert current(resolved, key) == typed(key, given[setting[-1]][key])
            assert origins[-1].value == given[setting[-1]][key]
            assert [line.split(":")[0].strip() for line in explain(resolved, key) if ": " in line][-len(setting) :] == [
                "set by",
                *["overrode"] * (len(setting) - 1),
            ]
        for origin in origins:
            pattern = r"\.yml:\d+$" if origin.layer.startswith("p") else rf"^(--set {key}|{PREFIX}\w+)$"
            assert re.search(pattern, origin.place)
    shown = [line.split(" = ")[0] for line in overview(resolved)]
    assert shown == [".".join(path) for path in resolved.origins]


@settings(max_examples=60, deadline=None)
@given(layers(), st.sets(st.sampled_from([*sorted(VALUES), "deploy", "deploy.settings", "environments"])))
def test_a_locked_key_is_the_platforms_or_refused(given: Layers, locked: set[str]) -> None:
    with project(
        {"pipeline.yml": "name: x\n", "platform.yml": yaml.safe_dump({"locked": sorted(locked)})}, {}
    ) as folder:
        for key, value in given["flag"].items():
            covered = any(key == lock or key.startswith(f"{lock}.") for lock in locked)
            for flag, refused in ((key, covered), (f"environments.test.{key}", covered or "environments" in locked)):
                settings_ = [f"{flag}={dumped(value)}"]
                error = problem(folder, platform=folder / "platform.yml", settings=settings_)
                assert (error is not None) == refused
                assert error is None or re.search(r"locked by the platform file \(.*platform.yml:\d+\)", error.message)


def problem(folder: Path, **options: Any) -> ConfigError | None:
    """What is wrong with the configuration in ``folder``; each of its sentences on a line, and printable."""
    try:
        assert load(folder, **options).config.name
    except ConfigError as error:
        for text in (error.message, error.hint, *error.details.split("\n")):
            assert text.isprintable(), text
        return error
    return None


KEYS = ["name", "kind", "scan", "timeout", "environments", "test", "sonarqube", "token", "<<", "&a", "*a", "locked"]
TOKENS = st.sampled_from(
    [*KEYS, ": ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "'", '"', "!!int ", "|", "5m", "null", "x"]
)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), st.binary(), st.lists(TOKENS, max_size=30).map("".join)))
def test_any_text_is_a_configuration_or_one_error(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    for prefix in (b"", b"name: x\n", b"name: x\nscan:\n  "):
        with project({"pipeline.yml": prefix + data}, {}) as folder:
            error = problem(folder)
            assert error is None or re.search(r"pipeline\.yml:\d+: ", error.message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["name", "scan", "timeout", "test", "a"]), inner),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(schema.model().model_fields)), JSON)
def test_any_value_of_any_key_is_taken_or_one_error_with_its_line(key: str, value: Any) -> None:
    text = yaml.safe_dump({"name": "x"} | {key: value})
    with project({"pipeline.yml": text}, {}) as folder:
        error = problem(folder)
        assert error is None or re.search(r"pipeline\.yml:\d+: ", error.message)


@given(st.floats(min_value=0, max_value=31_000_000) | st.integers(0, 31_000_000).map(float))
def test_a_duration_is_read_as_it_was_written(seconds: float) -> None:
    seconds = round(seconds, 6)
    assert duration(duration_text(seconds)) == pytest.approx(seconds, rel=1e-12)


@given(st.integers(0, 10**15) | st.integers(0, 4096).map(lambda number: number * 2**30))
def test_a_size_is_read_as_it_was_written(number: int) -> None:
    if re.fullmatch(r"\d{1,15}\D*", size_text(number)):
        assert size(size_text(number)) == number
