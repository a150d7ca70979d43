"""What is counted. Workers count in files that they share with the main process, which answers Prometheus.

The sets of labels are bounded: routes are ours, codes those that we send, trades those of the golden predictions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from servicio import counts
from servicio.board import REFUSED, SERVING, Board, Slot
from servicio.model import golden

LATENCY = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
OTHER = "otro"

if counts.VARIABLE in os.environ:
    values.ValueClass = values.MultiProcessValue(counts.name)

_seconds = Histogram(
    "servicio_request_seconds", "Time to answer a request.", ["route", "method", "code"], buckets=LATENCY
)
_refused = Counter("servicio_refused", "Requests answered 503 because there was no place.", ["reason"])
_predictions = Counter("servicio_predictions", "Predictions by best label and its score.", ["label", "score"])
_captured = Counter("servicio_captured", "Predictions kept for retraining.")
_dropped = Counter("servicio_capture_dropped", "Predictions that could not be kept.", ["reason"])
_lines_dropped = Counter("servicio_log_lines_dropped", "Lines of the log that nobody read in time.")

# `labels()` takes longer than the counting itself
_seconds_of = lru_cache(maxsize=512)(_seconds.labels)
_predictions_of = lru_cache(maxsize=512)(_predictions.labels)
METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})


def answered(route: str, method: str, code: int, seconds: float) -> None:
    """A request was answered."""
    _seconds_of(route, method, code).observe(seconds)


def refused(reason: str, requests: int = 1) -> None:
    """Requests were refused for want of a place."""
    _refused.labels(reason).inc(requests)


def predicted(label: str, score: int) -> None:
    """A prediction was made."""
    _predictions_of(label if label in _labels() else OTHER, score).inc()


def captured() -> None:
    """A prediction was kept."""
    _captured.inc()


def dropped(reason: str) -> None:
    """A prediction could not be kept."""
    _dropped.labels(reason).inc()


def lines_dropped(lines: int) -> None:
    """Lines of the log could not be written."""
    _lines_dropped.inc(lines)


@lru_cache
def _labels() -> frozenset[str]:
    return frozenset(golden().values())


_OF_EACH: tuple[tuple[str, str, Callable[[Slot], float]], ...] = (
    ("servicio_running", "Predictions that run.", lambda slot: slot.running),
    ("servicio_waiting", "Requests that wait for a place.", lambda slot: slot.waiting),
    ("servicio_reading", "Requests whose body is on its way.", lambda slot: slot.reading),
    ("servicio_oldest_wait_seconds", "How long the first in the queue waits.", lambda slot: slot.oldest_wait),
    ("servicio_worker_resident_bytes", "Resident memory.", lambda slot: _resident(slot.pid)),
)


class BoardCollector(Collector):
    """What the workers have on the board."""

    def __init__(self, board: Board):
        self._board = board

    def collect(self) -> Iterator[Metric]:
        """As prometheus-client asks for it."""
        board = self._board
        yield GaugeMetricFamily("servicio_maintenance", "Whether it is in maintenance.", value=board.maintenance)
        yield GaugeMetricFamily("servicio_draining", "Whether it is about to end.", value=board.draining)
        starts = CounterMetricFamily("servicio_worker_starts", "Workers started.")
        starts.add_metric([], sum(slot.starts for slot in board))
        yield starts
        model = GaugeMetricFamily(
            "servicio_model", "The model of each worker; 0: refused.", labels=["worker", "version", "digest", "data"]
        )
        for number, slot in enumerate(board):
            if slot.phase in (SERVING, REFUSED):
                about = [slot.about[name] for name in ("version", "digest", "data")]
                model.add_metric([str(number), *about], slot.phase == SERVING)
        yield model
        for name, what, value in _OF_EACH:
            family = GaugeMetricFamily(name, what, labels=["worker"])
            for number, slot in enumerate(board):
                family.add_metric([str(number)], value(slot))
            yield family


def registry(board: Board) -> CollectorRegistry:
    """All of it, for one answer to Prometheus."""
    everything = CollectorRegistry()
    everything.register(BoardCollector(board))
    MultiProcessCollector(everything)
    return everything


def _resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
