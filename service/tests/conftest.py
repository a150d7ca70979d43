"""The service as a real process, and in this one."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import settings as hypothesis
from servicio import model as models
from servicio.api import create_app
from servicio.board import Board
from servicio.settings import Settings

SERVICE = Path(__file__).resolve().parents[1]
FAULTY_MODEL = Path(__file__).resolve().parent / "averiado"
START_TIMEOUT = 20.0

# How long an example may take depends on what else the machine does.
hypothesis.register_profile("shared machine", deadline=None)
hypothesis.load_profile("shared machine")

_kept: list[socket.socket] = []


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back, and after how many seconds."""

    code: int
    text: str
    headers: dict[str, str]
    seconds: float

    @property
    def json(self) -> Any:
        """The document in the body."""
        return json.loads(self.text)


def ask(
    port: int, path: str, *, method: str = "GET", body: bytes | None = None, timeout: float = 20, **headers: str
) -> Answer:
    """One request on a connection of its own; raises OSError or HTTPException when nobody answers."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)
        answer = connection.getresponse()
        text = answer.read().decode()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(code=answer.status, text=text, headers=found, seconds=time.monotonic() - begun)
    finally:
        connection.close()


@dataclass
class Call(threading.Thread):
    """A prediction that is asked for in the background."""

    port: int
    text: str
    answer: Answer | None = None
    lost: str = ""

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.start()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        try:
            self.answer = ask(self.port, "/api/v2/modelo", method="POST", body=self.text.encode())
        except (OSError, http.client.HTTPException) as error:
            self.lost = type(error).__name__

    @property
    def code(self) -> int:
        """The status, once it is there; 0 when the connection broke."""
        self.join(30)
        assert not self.is_alive(), "no answer in 30 s"
        return self.answer.code if self.answer else 0


@dataclass(kw_only=True)
class Service:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    admin: int
    log: Path
    calls: list[Call] = field(default_factory=list)

    def get(self, path: str, **options: Any) -> Answer:
        """From the port that is served."""
        return ask(self.port, path, **options)

    def classify(self, text: str = "bañera", **options: Any) -> Answer:
        """A prediction by version 1."""
        return self.get(f"/api/v1/modelo?texto={quote(text)}", **options)

    def call(self, text: str) -> Call:
        """A prediction in the background."""
        return Call(self.port, text)

    def probe(self, name: str) -> int:
        """Status of a probe; it must come within a second."""
        return ask(self.admin, f"/{name}", timeout=1).code

    def why(self, name: str) -> str:
        """What a failing probe says."""
        return str(ask(self.admin, f"/{name}", timeout=1).json["detail"])

    def metric(self, line: str) -> float:
        """The value of a metric, named with its labels; 0 when it is not there."""
        for found in ask(self.admin, "/metrics").text.splitlines():
            if found.startswith(f"{line} "):
                return float(found.rpartition(" ")[2])
        return 0.0

    def lines(self) -> list[Any]:
        """The log's JSON lines."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def worker(self) -> int:
        """The process of the newest worker."""
        pids = [line["message"] for line in self.lines() if "Spawning worker" in line["message"]]
        return int(pids[-1].rpartition(" ")[2])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that no other test on this machine gets while this process lives.

    From below those that Linux gives to clients, who might take it before we do. Who has the same port of 127.0.0.2,
    has it: one that was only looked at would be free for another test too, until the service listens.
    """
    while True:
        port = random.randrange(28_000, 32_768)
        keeper = socket.socket()
        try:
            keeper.bind(("127.0.0.2", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
        else:
            _kept.append(keeper)
            return port


def eventually(condition: Callable[[], bool], what: str, seconds: float = START_TIMEOUT) -> float:
    """Wait for a condition; how long it took, in seconds. An answer that does not come is as good as a no."""
    begun = time.monotonic()
    while True:
        try:
            if condition():
                return time.monotonic() - begun
        except (OSError, http.client.HTTPException):
            pass
        assert time.monotonic() - begun < seconds, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)


@contextmanager
def serving(
    *,
    ready: bool = True,
    faulty: str = "",
    memory: int = 0,
    files: int = 0,
    unread: bool = False,
    **variables: str,
) -> Iterator[Service]:
    """The service with these settings (without ``SERVICIO_``), as a process.

    ``faulty``: with the model that can fail when it is asked to (`texts`), or does from the start (`golden`, `import`).
    ``memory``: how much of it a process gets, in bytes; 0: as much as there is.
    ``unread``: nobody reads its log.
    ``files``: how many it may have open before it asks for more; 0: as many as this process.
    """
    port, admin = free_port(), free_port()
    environment = {**os.environ, "PORT": str(port), "SERVICIO_ADMIN_PORT": str(admin)}
    environment |= {"SERVICIO_HOST": "127.0.0.1", "SERVICIO_ADMIN_HOST": "127.0.0.1", "SERVICIO_DRAIN_TIME": "0"}
    unprefixed = ("WORKERS",)
    environment |= {name if name in unprefixed else f"SERVICIO_{name}": value for name, value in variables.items()}
    if faulty:
        environment |= {"PYTHONPATH": str(FAULTY_MODEL), "AVERIADO": faulty}
    limit = ["prlimit", f"--as={memory}"] if memory else ["prlimit", f"--nofile={files}:"] if files else []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with (
            log.open("wb") as out,
            subprocess.Popen(
                [*limit, sys.executable, "-m", "servicio"],
                cwd=SERVICE,
                env=environment,
                stdout=subprocess.PIPE if unread else out,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            service = Service(process=process, port=port, admin=admin, log=log)
            try:
                if ready:
                    try:
                        eventually(lambda: process.poll() is not None or service.probe("ready") == 200, "ready")
                        assert service.classify().code == 200
                    except (AssertionError, OSError):
                        sys.stderr.write(log.read_text())
                        raise
                yield service
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                finally:
                    process.kill()


@pytest.fixture
def service() -> Iterator[Service]:
    """The service as it comes."""
    with serving() as running:
        yield running


def application(board: Board | None = None, **settings: Any) -> Flask:
    """The application in this process, with the real model."""
    return create_app(Settings(**settings), models.load(), board or Board(1))
