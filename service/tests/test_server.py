from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from servicio import logs, watchdog
from servicio.admission import Admission
from servicio.board import Board
from servicio.settings import Settings

from tests.conftest import SERVICE, free_port


def test_a_proxy_closes_an_idle_connection_before_the_service_does() -> None:
    from servicio.server import HEADER_TIMEOUT

    assert HEADER_TIMEOUT > 60_000, "nginx, HAProxy's and the clouds' balancers: 60 s"


def test_a_worker_that_hangs_before_it_says_anything_is_missed() -> None:
    from granian.server.mp import MPServer
    from servicio.server import Server

    board = Board(1)
    (slot,) = board
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MPServer, "_spawn_worker", lambda *_: None)
        patch.setenv("SERVICIO_START_TIMEOUT", "60")
        Server(Settings.from_environment(), board)._spawn_worker(0, None, None)
        assert not slot.sick(5)
        patch.setenv("SERVICIO_START_TIMEOUT", "0.01")
        Server(Settings.from_environment(), board)._spawn_worker(0, None, None)
        time.sleep(0.02)
        assert re.fullmatch(r"the start is [0-9.]+ s past its deadline", slot.sick(5))
    slot.start(1)
    assert not slot.sick(5), "it has said that it lives"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_before_the_server_serves_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    code = f"""
import os, time
from pathlib import Path
from types import SimpleNamespace
from servicio import server, settings
take = server.signals.take
def taken():
    take()
    os.kill(os.getpid(), {number})
    time.sleep(10)
server.signals.take = taken
server.run(settings.Settings(), Path({str(counts)!r}))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=SERVICE, timeout=30, capture_output=True)
    assert (ended.returncode, ended.stderr, counts.exists()) == (0, b"", False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_while_it_is_imported_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "pydantic_settings.py").write_text(
        f"import os, time\nos.kill(os.getpid(), {int(number)})\ntime.sleep(10)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-m", "servicio"], cwd=SERVICE, env=environment, timeout=30, capture_output=True
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_worker_ends_even_when_it_cannot_dump_its_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    def refused(name: str) -> int:
        raise OSError(24, name)

    monkeypatch.setattr("servicio.watchdog.os._exit", end)
    monkeypatch.setattr("servicio.watchdog.os.memfd_create", refused)
    admission = Admission(running=1, waiting=1, reading=1, job_timeout=1, standing_wait=1)
    (slot,) = Board(1)
    with pytest.raises(Ended, match=str(watchdog.EXIT_CODE)):
        watchdog.Watchdog(Settings(), admission, slot)._end("of a test")


def test_a_log_whose_thread_cannot_be_started_yet_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    written: list[bytes] = []

    def write(_: int, piece: memoryview) -> int:
        written.append(bytes(piece))
        return len(piece)

    monkeypatch.setattr("servicio.logs.os.write", write)
    output = logs.Output()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            output.put(b"first\n")
    output.put(b"second\n")
    output.drain()
    assert b"".join(written) == b"first\nsecond\n"


def test_a_handler_that_fails_does_not_keep_the_next_signal_from_being_taken() -> None:
    code = f"""
import logging, os, signal, time
from servicio import signals
def fails(number, frame):
    raise ZeroDivisionError
signal.signal(signal.SIGUSR1, fails)
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
signals.take()
os.kill(os.getpid(), {int(signal.SIGUSR1)})
os.kill(os.getpid(), {int(signal.SIGTERM)})
time.sleep(10)
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=SERVICE, timeout=30, capture_output=True)
    assert ended.returncode == 7


def test_answers_do_not_wait_for_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option, one answer in five on a connection that is kept took 40 ms longer."""
    from servicio.server import Server

    monkeypatch.setenv("SERVICIO_HOST", "127.0.0.1")
    monkeypatch.setenv("PORT", str(free_port()))
    server = Server(Settings.from_environment(), Board(1))
    server._init_shared_socket()
    port = server._sso
    assert isinstance(port, socket.socket)
    with port, socket.create_connection(port.getsockname()), port.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(("exit_code", "slept"), [(-9, 1), (70, 0)])
def test_memory_of_a_worker_that_was_killed_is_given_time_to_become_free(exit_code: int, slept: int) -> None:
    from granian.server.mp import MPServer
    from servicio import server

    done: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MPServer, "_respawn_workers", lambda *_: done.append("respawned"))
        patch.setattr("servicio.server.time.sleep", lambda _: done.append("slept"))
        one = server.Server(Settings.from_environment(), Board(1))
        one.wrks = [SimpleNamespace(inner=SimpleNamespace(exitcode=exit_code))]  # type: ignore[list-item]
        one._respawn_workers([0], None, None)
    assert done == ["slept"] * slept + ["respawned"]
