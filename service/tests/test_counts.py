from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from servicio import counts

from tests.conftest import SERVICE

COUNT = """
import sys
from servicio import counts
counts.go_on()
from servicio import metrics
print(counts.name(), flush=True)
for number in range(int(sys.argv[1])):
    metrics.refused(f"reason {number % 500}")
print("counted", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(counts.VARIABLE, str(tmp_path))
    return tmp_path


def counting(times: int) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", COUNT, str(times)]
    return subprocess.Popen(argv, cwd=SERVICE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def total(folder: Path) -> float:
    found = MultiProcessCollector(CollectorRegistry(), str(folder)).collect()
    return sum(
        float(sample.value) for metric in found if metric.name == "servicio_refused" for sample in metric.samples
    )


def test_who_is_killed_while_he_counts_leaves_nothing_broken_and_the_next_goes_on(folder: Path) -> None:
    seen = 0.0
    for _ in range(8):
        with counting(10**9) as process:
            assert said(process) == "worker-0"
            time.sleep(random.random() / 20)
            process.kill()
        now = total(folder)
        assert now >= seen
        seen = now
    with counting(1000) as process:
        assert (said(process), said(process)) == ("worker-0", "counted")
        assert total(folder) == seen + 1000
        process.kill()


def test_those_who_live_at_the_same_time_have_files_of_their_own(folder: Path) -> None:
    with counting(3) as first, counting(4) as second:
        names = {said(first), said(second)}
        assert (said(first), said(second)) == ("counted", "counted")
        assert (names, total(folder)) == ({"worker-0", "worker-1"}, 7)
        first.kill()
        second.kill()


def test_a_folder_is_removed_when_nobody_lives_who_counts_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(counts.VARIABLE, "")
    left = tmp_path / f"{counts.PREFIX}left"
    left.mkdir()
    (left / "counter_main.db").touch()
    first, second = counts.make(tmp_path), counts.make(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}
    assert os.environ[counts.VARIABLE] == str(second)
