"""Errors as RFC 9457 has them: `application/problem+json`."""

from __future__ import annotations

import json
from http import HTTPStatus

from flask import Response
from werkzeug.exceptions import HTTPException

PROBLEM = "application/problem+json"
# Why there is no place, for the client; by the reason of `admission.Busy`.
BUSY = {
    "full": "As many requests run and wait as can be; come back later.",
    "waited": "No place became free in time; come back later.",
    "reading": "Too many requests are still being received; come back later.",
    "ending": "This worker is being replaced; come back in a moment.",
}
DEFECT = "The service failed; the error is in its log."


class Unprocessable(HTTPException):
    """What was sent can be read but not classified."""

    code = 422


def problem(status: int, detail: str, error: HTTPException | None = None) -> Response:
    """An answer with ``status`` and why; headers of ``error`` (Allow, Retry-After) are kept."""
    answer = Response(document(status, detail), status, mimetype=PROBLEM)
    if error is not None:
        for name, value in error.get_headers():
            if name not in ("Content-Type", "Content-Length"):
                answer.headers[name] = value
    return answer


def document(status: int, detail: str) -> bytes:
    """The problem itself."""
    members = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return json.dumps(members, ensure_ascii=False).encode()
