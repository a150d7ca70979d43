"""Captured predictions on their way to a server that takes them, refuses them, or is not there."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servicio.settings import Settings, SettingsError
from servicio.upload import Upload

from tests.conftest import SERVICE, eventually

NAME = "captura-20260101T000000000000-7"


@dataclass
class Store:
    """A server that keeps what is put there."""

    url: str = ""
    code: int = 201
    files: dict[str, bytes] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["X-Checksum-Sha256"] == hashlib.sha256(content).hexdigest()
            found.users.append(base64.b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode())
            if found.code == 201:
                found.files[self.path] = content
            self.send_response(found.code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{server.server_port}/artifactory/generic/capturas"
        yield found
        server.shutdown()


def variables(folder: Path, url: str) -> dict[str, str]:
    return {
        "SERVICIO_CAPTURE_DIR": str(folder),
        "SERVICIO_UPLOAD_URL": url,
        "SERVICIO_UPLOAD_USERNAME": "ci",
        "SERVICIO_UPLOAD_PASSWORD": "contraseña",
        "SERVICIO_UPLOAD_INTERVAL": "0.05",
    }


def test_closed_files_go_by_day_and_host_and_are_removed_when_they_have_arrived(tmp_path: Path, store: Store) -> None:
    (tmp_path / f"{NAME}.jsonl").write_bytes(b"{}\n")
    (tmp_path / f"{NAME}.part").write_bytes(b"{")
    upload = Upload(Settings.from_environment(variables(tmp_path, store.url)))
    store.code = 503
    assert upload.send() == 1
    store.code = 201
    assert upload.send() == 0
    assert store.files == {f"/artifactory/generic/capturas/20260101/{socket.gethostname()}/{NAME}.jsonl": b"{}\n"}
    assert store.users == ["ci:contraseña"] * 2
    assert [file.suffix for file in tmp_path.iterdir()] == [".part"], "what is still written to stays"


def test_a_server_that_is_not_there_is_asked_again_and_what_was_left_open_goes_at_the_end(
    tmp_path: Path, store: Store
) -> None:
    (tmp_path / f"{NAME}.jsonl").write_bytes(b"{}\n")
    store.code = 500
    process = subprocess.Popen(
        [sys.executable, "-m", "servicio.upload"],
        cwd=SERVICE,
        env={**os.environ, **variables(tmp_path, store.url)},
        stdout=subprocess.PIPE,
    )
    eventually(lambda: len(store.users) >= 2, "asked again")
    store.code = 201
    eventually(lambda: len(store.files) == 1, "sent")
    (tmp_path / "captura-20260102T000000000000-8.part").write_bytes(b"{}\n")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert [path.rpartition("/")[2] for path in store.files] == [
        f"{NAME}.jsonl",
        "captura-20260102T000000000000-8.jsonl",
    ]
    assert b"1 files wait" in said and "contraseña".encode() not in said
    assert not list(tmp_path.iterdir())


def test_without_an_address_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SERVICIO_UPLOAD_URL is not set"):
        Upload(Settings(capture_dir=tmp_path))
