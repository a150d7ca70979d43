"""An HTTP server that breaks off in the middle of what it says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Cut(bytes):
    """The beginning of an answer whose rest never comes."""


@contextmanager
def serving(answers: Mapping[str, bytes | list[Any]], *, chunked: bool) -> Iterator[str]:
    """``HOST:PORT`` of a server that answers with what its path ends with; a list becomes JSON, one after another."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            found = next((each for end, each in answers.items() if path.endswith(end)), None)
            body = "\n".join(map(json.dumps, found)).encode() if isinstance(found, list) else found or b""
            more = 100 if isinstance(found, Cut) else 0
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(f"{len(body) + more:x}\r\n".encode() + body + (b"" if more else b"\r\n0\r\n\r\n"))
            else:
                self.send_header("Content-Length", str(len(body) + more))
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = bool(more)

        def log_message(self, *words: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
