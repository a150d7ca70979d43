"""What every request passes before and after Flask: its id, its place, its headers, its line in the log, its count.

It is WSGI and not Flask because it is done for every request: here it takes a third of the time, and a request for
which there is no place is refused before Flask does any work.
"""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from servicio import metrics
from servicio.admission import Admission
from servicio.board import Board
from servicio.logs import RequestLog
from servicio.problem import BUSY, PROBLEM, document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MODEL_PATHS = frozenset({"/api/v1/modelo", "/api/v2/modelo"})
ROUTES = MODEL_PATHS | {"/", "/api/v1/status", "/openapi.json"}
REQUEST_ID = "servicio.request_id"  # in WSGI's environment
INTERVAL = 0.2  # seconds

_DECENT_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

log = logging.getLogger("servicio.door")


class Door:
    """Wraps ``app``: calls of the model are let in while ``admission`` is not full; all others always are.

    What is refused here is counted and logged together, every ``INTERVAL`` seconds: the dearer a refusal is, the less
    is left for those who are let in.
    """

    def __init__(
        self,
        app: WSGIApplication,
        admission: Admission,
        board: Board,
        *,
        retry_after: int,
        headers: Mapping[str, str],
        log: RequestLog | None,
    ):
        self._app = app
        self._admission = admission
        self._board = board
        self._headers = list(headers.items())
        self._log = log
        self._refusal = document(503, BUSY["full"])
        fixed = [("Content-Type", PROBLEM), ("Content-Length", str(len(self._refusal)))]
        self._refused_with = [[*fixed, ("Retry-After", str(seconds + 1))] for seconds in range(retry_after)]
        self._refused: deque[None] = deque()
        threading.Thread(target=self._tell, name="refusals", daemon=True).start()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """As WSGI (PEP 3333) has it."""
        begun = time.perf_counter()
        path = environ["PATH_INFO"]
        asked = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = asked if _DECENT_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"
        environ[REQUEST_ID] = request_id
        more = [("X-Request-ID", request_id), *self._headers]
        if self._board.draining:
            more.append(("Connection", "close"))
        if path in MODEL_PATHS and self._admission.full:
            self._refused.append(None)
            # those who are refused together do not come back together
            start_response("503 Service Unavailable", random.choice(self._refused_with) + more)  # noqa: S311
            return [self._refusal]

        def answer(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
            self._count(environ, path, int(status[:3]), request_id, time.perf_counter() - begun)
            return start_response(status, headers + more, *exception)

        if path in MODEL_PATHS:
            with self._admission.guest():
                return self._inside(environ, answer)
        return self._inside(environ, answer)

    def _inside(self, environ: WSGIEnvironment, answer: StartResponse) -> list[bytes]:
        """The whole answer in one piece: the server lets go of the interpreter's lock for each piece that it sends."""
        body = self._app(environ, answer)
        try:
            return [b"".join(body)]
        finally:
            if hasattr(body, "close"):
                body.close()

    def _tell(self) -> None:
        while True:
            time.sleep(INTERVAL)
            count = len(self._refused)
            if count:
                for _ in range(count):
                    self._refused.popleft()
                metrics.refused("full", count)
                log.warning("%d requests refused: no place", count)

    def _count(self, environ: WSGIEnvironment, path: str, code: int, request_id: str, seconds: float) -> None:
        route = path if path in ROUTES else metrics.OTHER
        method = environ["REQUEST_METHOD"]
        metrics.answered(route, method, code, seconds)
        if self._log is not None:
            found = _TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", ""))
            self._log.append(
                request_id=request_id,
                trace_id=found[1] if found else None,
                method=method if method in metrics.METHODS else metrics.OTHER,
                route=route,
                code=code,
                ms=round(seconds * 1000, 3),
            )
