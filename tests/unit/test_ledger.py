"""What the ledger writes is what it reads, whatever is in it and whatever happened to its files."""

from __future__ import annotations

import json
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_tools.errors import ConfigError
from pipeline_tools.ledger import Ledger, Passed, digest, read_json

Values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OUTPUTS = st.dictionaries(st.text(), Values, max_size=5)


@given(outputs=OUTPUTS)
def test_a_record_comes_back_as_it_was(outputs: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        ledger.record("deploy-test", Passed(digest="d", run="r", outputs=outputs))
        assert ledger.passed("deploy-test") == Passed(digest="d", run="r", outputs=outputs)
        assert ledger.passed("deploy-prod") is None


@given(content=st.binary(max_size=200))
def test_a_damaged_record_is_none(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ".pipeline/passed/test.json"
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        assert Ledger(Path(folder)).passed("test") is None


@given(cut=st.integers(min_value=0, max_value=400))
def test_half_a_record_is_none(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        ledger.record("test", Passed(digest="d", run="r", outputs={"a": "b" * 50}))
        file = Path(folder) / ".pipeline/passed/test.json"
        whole = file.read_bytes().rstrip()
        file.write_bytes(whole[:cut])
        assert (ledger.passed("test") is None) == (cut < len(whole))


@given(one=OUTPUTS, other=OUTPUTS)
def test_the_digest_is_equal_for_equal_reads_only(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same
    assert digest(dict(reversed(one.items()))) == digest(one)


def test_runs_are_listed_by_their_time_and_unreadable_ones_left_out(tmp_path: Path) -> None:
    for name, started in (("b", "2026-01-01T00:00:00"), ("a", "2026-01-02T00:00:00")):
        (tmp_path / f".pipeline/runs/{name}").mkdir(parents=True)
        (tmp_path / f".pipeline/runs/{name}/run.json").write_text(json.dumps({"id": name, "started": started}))
    (tmp_path / ".pipeline/runs/c").mkdir()
    (tmp_path / ".pipeline/runs/c/run.json").write_text("{")
    assert [run["id"] for run in Ledger(tmp_path).runs()] == ["b", "a"]
    assert read_json(tmp_path / ".pipeline/runs/c/run.json") is None


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "x" * 300, "a b"])
def test_a_run_that_is_joined_has_a_name_that_a_folder_can_have(tmp_path: Path, name: str) -> None:
    if name:
        with pytest.raises(ConfigError, match="cannot name a run"), Ledger(tmp_path).run(name, say=print):
            pass
    assert not list(tmp_path.glob(".pipeline/runs/*"))


def test_a_body_that_cannot_begin_a_process_is_not_taken_for_another_command_at_work(tmp_path: Path) -> None:
    with (
        pytest.raises(BlockingIOError),
        Ledger(tmp_path).run(say=print) as run,
        run.step("test"),
    ):
        raise BlockingIOError("fork: resource temporarily unavailable")


def test_a_file_in_the_place_of_our_folder_is_for_the_user_to_mend(tmp_path: Path) -> None:
    (tmp_path / ".pipeline").touch()
    with pytest.raises(ConfigError, match=r"\.pipeline cannot be written") as caught, Ledger(tmp_path).run(say=print):
        pass
    assert caught.value.hint


def _join(project: Path, turn: Any) -> None:
    turn.wait()
    with Ledger(project).run("build-7", say=lambda _: None):
        pass


def test_processes_of_one_run_that_begin_together_do_not_take_each_other_for_another_run(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    for number in range(20):
        project = tmp_path / str(number)
        project.mkdir()
        turn = fork.Barrier(8)
        together = [fork.Process(target=_join, args=(project, turn)) for _ in range(8)]
        for one in together:
            one.start()
        for one in together:
            one.join(20)
        assert [one.exitcode for one in together] == [0] * 8
