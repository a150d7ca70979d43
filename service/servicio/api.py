"""The REST service: status, version 1 (text) and version 2 (JSON)."""

from __future__ import annotations

import logging
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
from flask import Flask, Request, Response, has_app_context, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException, ServiceUnavailable
from werkzeug.routing import MapAdapter, Rule

from servicio import metrics, text
from servicio.board import Board
from servicio.capture import Capture
from servicio.door import REQUEST_ID
from servicio.model import Model
from servicio.problem import DEFECT, problem
from servicio.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from clasificador_modelo import Classification

log = logging.getLogger("servicio.api")


class _Nobody(SessionInterface):
    _session = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        return self._session


class _Answer(Response):
    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Those of a whole answer need no second look."""
        whole = self.status_code == HTTPStatus.OK and self.is_sequence
        return self.headers if whole else super().get_wsgi_headers(environ)


class _Routes(MapAdapter):
    """Where URLs lead. Those that always lead to the same are looked up once: there are no more than routes."""

    _known: ClassVar[dict[tuple[str, str], tuple[Rule, dict[str, Any]]]] = {}

    def match(self, *args: Any, **options: Any) -> Any:
        """As Flask calls it: the rule and its variables."""
        key = self.path_info, self.default_method
        found = self._known.get(key)
        if found is None:
            found = super().match(*args, **options)
            if not found[1]:
                self._known[key] = found
        return found


class _Api(Flask):
    """Flask without what this service does not use, which is half of its own time for a request.

    There are no sessions, no signals and nothing to do before or after each request, a URL has no host, and nothing is
    kept in an application context, so that each thread has one for all its requests.
    """

    session_interface = _Nobody()
    response_class = _Answer

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """The routes do not depend on who is asked."""
        if request is None:
            return None
        return _Routes(self.url_map, "", "/", None, "http", request.path, request.method)

    def full_dispatch_request(self) -> Response:
        """A view's answer, or an error handler's."""
        try:
            return self.make_response(self.dispatch_request())
        except Exception as error:
            return self.make_response(self.handle_user_exception(error))

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Nothing is left behind by a request."""

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """As WSGI has it."""
        if not has_app_context():
            self.app_context().push()
        return super().wsgi_app(environ, start_response)


def create_app(settings: Settings, model: Model, board: Board) -> Flask:
    """The application of one worker."""
    app = _Api(__name__)
    app.url_map.merge_slashes = False
    capture = None
    if settings.capture_dir is not None and not model.refused:
        capture = Capture(settings, model)
        capture.start()

    def classified(words: str) -> Classification:
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
        found = classified(text.from_body(request, settings))
        tokens = [{"token": token.token, "score": token.score} for token in found.tokens]
        info = {"count": len(tokens), "max_score": model.max_score}
        return _json({"classification": {"info": info, "tokens": tokens}})

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _Answer(_openapi(), mimetype="application/json")

    @app.get("/")
    def page() -> Response:
        answer = app.send_static_file("pagina.html")
        answer.headers["Content-Security-Policy"] = "default-src 'self'"
        return answer

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        return problem(error.code or 500, error.description or "", error)

    @app.errorhandler(Exception)
    def defect(error: Exception) -> Response:
        log.exception("unexpected error", extra={"request_id": request.environ.get(REQUEST_ID)})
        return problem(500, DEFECT)

    return app


def _text(words: str) -> Response:
    return _Answer(words, content_type="text/plain; charset=utf-8")


def _json(value: object) -> Response:
    return _Answer(orjson.dumps(value), content_type="application/json")


@cache
def _openapi() -> str:
    return (files(__package__) / "openapi.json").read_text(encoding="utf-8")
