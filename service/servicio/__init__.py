"""The model's REST service: status, version 1 (text) and version 2 (JSON)."""

from __future__ import annotations

import unicodedata
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

from clasificador_modelo import MAX_SCORE, Classification, classify
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import BadRequest, HTTPException, UnsupportedMediaType

from servicio.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """The application; ``settings`` come from the environment unless they are given."""
    settings = settings or Settings.from_environment()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_bytes
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    classify("")  # the model is read now, not by the first request

    @app.get("/api/v1/status")
    def status() -> Response:
        return _text("OK")

    @app.get("/api/v1/modelo")
    def modelo_v1() -> Response:
        _decoded(unquote_to_bytes(request.query_string), "query")
        text = _checked(request.args.get("texto", ""), settings)
        return _text(classify(text).tokens[0].token)

    @app.route("/api/v2/modelo", methods=["GET", "POST"])
    def modelo_v2() -> Response:
        return jsonify(_as_json(classify(_checked(_body(), settings))))

    @app.errorhandler(HTTPException)
    def problem(error: HTTPException) -> Response:
        return _problem(error.code or 500, error.description or "", error)

    @app.errorhandler(Exception)
    def defect(error: Exception) -> Response:
        app.logger.exception("unexpected error")
        return _problem(500, "The service failed; the error is in its log.")

    return app


def _text(text: str) -> Response:
    return Response(text, mimetype="text/plain")


def _body() -> str:
    """The text of the body: UTF-8 as text/plain, or a JSON string or object with ``texto``."""
    kind = request.mimetype
    if kind == "application/json":
        value = request.get_json()
        text = value.get("texto") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise _Unprocessable("Send a JSON string, or an object with the string `texto`.")
        return text
    if kind not in ("", "text/plain", "application/x-www-form-urlencoded"):
        raise UnsupportedMediaType("Send text/plain in UTF-8 or application/json.")
    return _decoded(request.get_data(), "body")


def _decoded(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"The {what} is not UTF-8.") from error


def _checked(text: str, settings: Settings) -> str:
    text = unicodedata.normalize("NFC", text).strip()
    if not text:
        raise BadRequest("The text is empty: send it as `texto` (v1) or as the body (v2).")
    if len(text) > settings.max_characters:
        raise _Unprocessable(f"The text has {len(text)} characters; the most is {settings.max_characters}.")
    return text


def _as_json(classification: Classification) -> dict[str, object]:
    tokens = [{"token": token.token, "score": token.score} for token in classification.tokens]
    return {"classification": {"info": {"count": len(tokens), "max_score": MAX_SCORE}, "tokens": tokens}}


def _problem(status: int, detail: str, error: HTTPException | None = None) -> Response:
    """An error as RFC 9457 has it."""
    answer = jsonify(type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail)
    answer.status_code = status
    answer.mimetype = "application/problem+json"
    if error is not None:
        for name, value in error.get_headers():
            if name not in ("Content-Type", "Content-Length"):
                answer.headers[name] = value
    return answer


class _Unprocessable(HTTPException):
    code = 422
