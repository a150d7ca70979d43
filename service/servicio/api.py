"""The REST service: status, version 1 (text) and version 2 (JSON)."""

from __future__ import annotations

import json
import logging
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, HTTPException, ServiceUnavailable

from servicio import metrics, text
from servicio.admission import Admission, Busy
from servicio.board import Board
from servicio.capture import Capture
from servicio.door import REQUEST_ID
from servicio.model import Model
from servicio.problem import BUSY, come_back, problem
from servicio.settings import Settings

if TYPE_CHECKING:
    from clasificador_modelo import Classification

# an encoder that is made once: `jsonify` makes one for each answer
ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")

log = logging.getLogger("servicio.api")


def create_app(settings: Settings, model: Model, admission: Admission, board: Board) -> Flask:
    """The application of one worker."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_bytes
    deadline = f"HTTP_{settings.deadline_header.upper().replace('-', '_')}"
    capture = None
    if settings.capture_dir is not None and not model.refused:
        capture = Capture(settings, model)
        capture.start()

    def classified(words: str) -> Classification:
        with admission.place(_patience(settings, deadline)):
            found = model.classify(words)
        best = found.tokens[0]
        metrics.predicted(best.token, best.score)
        if capture is not None:
            capture.keep(words, found)
        return found

    def able() -> None:
        if model.refused:
            raise ServiceUnavailable(model.refused)

    @app.get("/api/v1/status")
    def status() -> Response:
        if request.args.get("format") != "json":
            return _text("OK")
        ready = not (model.refused or board.maintenance or board.draining)
        return _json(
            {
                "status": "OK",
                "ready": ready,
                "maintenance": board.maintenance,
                "draining": board.draining,
                "refused": model.refused,
                "model": {"version": model.version, "digest": model.digest, "lineage": dict(model.lineage)},
            }
        )

    @app.get("/api/v1/modelo")
    def modelo_v1() -> Response:
        able()
        return _text(classified(text.from_query(request, settings)).tokens[0].token)

    @app.route("/api/v2/modelo", methods=["GET", "POST"])
    def modelo_v2() -> Response:
        able()
        found = classified(text.from_body(request, settings, admission))
        tokens = [{"token": token.token, "score": token.score} for token in found.tokens]
        info = {"count": len(tokens), "max_score": model.max_score}
        return _json({"classification": {"info": info, "tokens": tokens}})

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(_openapi(), mimetype="application/json")

    @app.get("/")
    def page() -> Response:
        answer = app.send_static_file("pagina.html")
        answer.headers["Content-Security-Policy"] = "default-src 'self'"
        return answer

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return problem(error.code or 500, error.description or "", error)

    @app.errorhandler(Busy)
    def busy(error: Busy) -> Response:
        metrics.refused(error.reason)
        answer = problem(503, BUSY[error.reason])
        answer.headers["Retry-After"] = come_back(settings.retry_after)
        return answer

    @app.errorhandler(Exception)
    def defect(error: Exception) -> Response:
        log.exception("unexpected error", extra={"request_id": request.environ.get(REQUEST_ID)})
        return problem(500, "The service failed; the error is in its log.")

    return app


def _text(words: str) -> Response:
    return Response(words, mimetype="text/plain")


def _json(value: object) -> Response:
    return Response(ENCODE(value), mimetype="application/json")


def _patience(settings: Settings, header: str) -> float:
    """How long this request may wait for a place, in seconds."""
    asked = request.environ.get(header)
    if asked is None:
        return settings.max_wait
    if not MILLISECONDS.fullmatch(asked):
        raise BadRequest(f"{settings.deadline_header} must be a positive whole number of milliseconds.")
    return min(settings.max_wait, int(asked) / 1000)


@cache
def _openapi() -> str:
    return (files(__package__) / "openapi.json").read_text(encoding="utf-8")
