"""The administrative port: probes, metrics, maintenance. The main process answers, which never runs the model."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request
from prometheus_client.exposition import choose_encoder
from werkzeug.exceptions import Forbidden, HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from servicio import logs, metrics
from servicio.board import LOADING, REFUSED, SERVING, Board
from servicio.problem import problem
from servicio.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def create_admin(settings: Settings, board: Board) -> Flask:
    """The application of the administrative port."""
    app = Flask(__name__)

    @app.get("/startup")
    def startup() -> Response:
        """200 once every worker has loaded its model, whether it is fit or not."""
        return _answer([f"worker {number} loads" for number, slot in enumerate(board) if slot.phase in (0, LOADING)])

    @app.get("/live")
    def live() -> Response:
        """503 while a job is past its deadline or a worker stuck, and only then."""
        return _answer(_sick(settings, board))

    @app.get("/ready")
    def ready() -> Response:
        """200 while requests are wanted."""
        return _answer(_not_ready(settings, board))

    @app.get("/metrics")
    def measured() -> Response:
        if dropped := logs.OUTPUT.dropped():  # here, where no worker is forked meanwhile
            metrics.lines_dropped(dropped)
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(metrics.registry(board)), content_type=kind)

    @app.route("/maintenance", methods=["GET", "PUT", "DELETE"])
    def maintenance() -> Response:
        """PUT switches it on, DELETE off: from this machine only, through `kubectl port-forward` for instance."""
        if request.method != "GET":
            if not ipaddress.ip_address(request.remote_addr or "::").is_loopback:
                raise Forbidden("Maintenance is switched from the machine itself only.")
            board.maintenance = request.method == "PUT"
        return jsonify(maintenance=board.maintenance)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return problem(error.code or 500, error.description or "", error)

    return app


def _sick(settings: Settings, board: Board) -> list[str]:
    return [
        f"worker {number}: {what}" for number, slot in enumerate(board) if (what := slot.sick(settings.stuck_timeout))
    ]


def _not_ready(settings: Settings, board: Board) -> list[str]:
    reasons = _sick(settings, board)
    if board.draining:
        reasons.append("draining")
    if board.maintenance:
        reasons.append("maintenance")
    if not any(slot.phase == SERVING for slot in board):
        refused = sorted({slot.about["refused"] for slot in board if slot.phase == REFUSED})
        reasons += refused or ["loading"]
    return reasons


def _answer(reasons: list[str]) -> Response:
    if reasons:
        return problem(503, "; ".join(reasons))
    return Response("OK", mimetype="text/plain")


class _Handler(WSGIRequestHandler):
    # a client that says nothing must not keep a thread, in seconds
    timeout = 5

    def log_request(self, *_: Any) -> None:
        """Probes are not worth a line."""


class _OutsideForks:
    """No request is in the middle of ``app`` while a worker is forked, so that the child gets no lock that is held."""

    def __init__(self, app: WSGIApplication):
        self._app = app
        lock = threading.Lock()
        self._lock = lock
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            return list(self._app(environ, start_response))


def serve(settings: Settings, board: Board) -> BaseWSGIServer:
    """Answer on the administrative port from now on, in threads.

    Raises:
        OSError: the port is taken.
    """
    app = _OutsideForks(create_admin(settings, board).wsgi_app)
    server = make_server(settings.admin_host, settings.admin_port, app, threaded=True, request_handler=_Handler)
    os.register_at_fork(after_in_child=server.socket.close)
    threading.Thread(target=server.serve_forever, name="admin", daemon=True).start()
    return server
