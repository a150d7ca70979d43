"""Put the service into each state, with its default settings, and print what the probes and the users saw.

    cd service && PYTHONPATH=. ENVIRONMENT/bin/python ../benchmarks/service/states.py

ENVIRONMENT is the service's (`make test-service` makes it). The table stands in docs/service-states.md.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus

from tests.conftest import Call, Service, ask, eventually, serving


@dataclass
class Watch(threading.Thread):
    """Asks both probes and the model, twenty times a second each, until it is stopped."""

    service: Service
    over: threading.Event = field(default_factory=threading.Event)
    probes: list[tuple[float, str, int, float]] = field(default_factory=list)
    users: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.begun = time.monotonic()
        self.start()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Ask."""
        while not self.over.wait(0.05):
            for name in ("live", "ready"):
                at = time.monotonic()
                try:
                    code = self.service.probe(name)
                except (OSError, http.client.HTTPException):
                    code = 0
                self.probes.append((at - self.begun, name, code, time.monotonic() - at))
            try:
                self.users[str(self.service.classify(timeout=15).code)] += 1
            except ConnectionRefusedError:
                self.users["refused connection"] += 1
            except (OSError, http.client.HTTPException):
                self.users["lost"] += 1

    def said(self, name: str) -> str:
        """When the probe failed, in seconds from the start of the state."""
        spans: list[tuple[float, float]] = []
        failing = False
        for at, probe, code, took in self.probes:
            if probe != name or code == 0:
                continue
            if code != HTTPStatus.OK:
                spans.append((spans.pop()[0] if failing else at, at + took))
            failing = code != HTTPStatus.OK
        return ", ".join(f"503 from {begun:.1f} to {end:.1f} s" for begun, end in spans) or "200"


def fault(*texts: str) -> Callable[[Service], list[Call]]:
    """Predictions that go wrong."""
    return lambda service: [service.call(text) for text in texts]


def slow(service: Service) -> list[Call]:
    """More clients that never finish their body than may be slow at a time."""
    for _ in range(300):
        client = socket.create_connection(("127.0.0.1", service.port))
        client.sendall(b"POST /api/v2/modelo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        service.stack.callback(client.close)  # type: ignore[attr-defined]
        time.sleep(0.005)  # of many at one moment the door refuses those that find no place
    return []


def kill(service: Service) -> list[Call]:
    """As when memory runs out."""
    os.kill(service.worker(), signal.SIGKILL)
    return []


def maintain(service: Service) -> list[Call]:
    """On, and off after a second."""
    ask(service.admin, "/maintenance", method="PUT")
    threading.Timer(1, ask, (service.admin, "/maintenance"), {"method": "DELETE"}).start()
    return []


def drain(service: Service) -> list[Call]:
    """SIGTERM with a job in flight that takes longer than the drain."""
    calls = fault("@largo 5")(service)
    time.sleep(0.2)
    service.process.send_signal(signal.SIGTERM)
    return calls


STATES: tuple[tuple[str, Callable[[Service], list[Call]], float], ...] = (
    ("two jobs wait for one another's lock", fault("@cerrojo 0", "@cerrojo 1"), 14),
    ("a job of 8 s, within its deadline of 10 s", fault("@largo 8"), 9),
    ("a job past its deadline", fault("@largo 60"), 14),
    ("a busy loop in Python for 3 s", fault("@ocupado 3"), 4),
    ("a job that holds the interpreter", fault("@gil"), 9),
    ("a pool that waits for itself", fault("@piscina"), 14),
    ("a worker that leaks 300 threads", fault("@fuga"), 4),
    ("full queue: 60 jobs of 1 s at once", fault(*["@largo 1"] * 60), 4),
    ("300 clients that never finish their body", slow, 14),
    ("maintenance for 1 s", maintain, 2),
    ("SIGTERM with a job of 5 s in flight", drain, 6.5),
    ("worker killed with -9", kill, 2),
)


def row(name: str, begin: Callable[[Service], list[Call]], seconds: float) -> list[str]:
    """What was seen in a state that is watched for so many seconds."""
    with ExitStack() as stack:
        service = stack.enter_context(serving(faulty="texts", DRAIN_TIME="3"))
        service.stack = stack  # type: ignore[attr-defined]
        worker = service.worker()
        watch = Watch(service)
        calls = begin(service)
        time.sleep(seconds)
        watch.over.set()
        watch.join(20)
        jobs = Counter(str(call.code or "lost") for call in calls)
        if service.process.poll() is None:
            eventually(lambda: service.classify().code == 200, "serves")
            after = "same worker" if service.worker() == worker else "new worker"
        else:
            after = f"ended, exit code {service.process.returncode}"
        slowest = max(took for _, _, code, took in watch.probes if code)
        users, own = (", ".join(f"{n} × {what}" for what, n in count.items()) for count in (watch.users, jobs))
        return [name, watch.said("live"), watch.said("ready"), f"{slowest * 1000:.0f} ms", users, own or "none", after]


def main() -> None:
    """Print a row a state."""
    heads = ["state", "liveness", "readiness", "slowest probe", "other users", "the jobs themselves", "afterwards"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for name, begin, seconds in STATES:
        print(f"| {' | '.join(row(name, begin, seconds))} |", flush=True)


if __name__ == "__main__":
    main()
