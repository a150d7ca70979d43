"""The real server as a real process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from servicio import salud

SERVICE = Path(__file__).resolve().parents[1]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    monkeypatch.setenv("PORT", port)
    argv = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "servicio:create_app()"]
    with subprocess.Popen(argv, cwd=SERVICE, env=dict(os.environ)) as process:
        try:
            end = time.monotonic() + 20
            while salud.main() != 0:
                assert time.monotonic() < end, "the service did not start"
                time.sleep(0.1)
            yield process
        finally:
            process.kill()


def test_it_serves_is_healthy_and_ends_well(server: subprocess.Popen[bytes]) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/api/v1/status", timeout=5) as answer:
        assert answer.read() == b"OK"
    server.send_signal(signal.SIGTERM)
    assert server.wait(10) == 0
    assert salud.main() == 1, "nobody answers any more"
