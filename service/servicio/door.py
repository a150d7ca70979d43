"""Before Flask: a request for which there is no place is refused here, so that a refusal costs next to nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from servicio import metrics
from servicio.admission import Admission
from servicio.problem import BUSY, PROBLEM, come_back, document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MODEL_PATHS = frozenset({"/api/v1/modelo", "/api/v2/modelo"})


class Door:
    """Wraps ``app``: calls of the model are let in while ``admission`` is not full; all others always are."""

    def __init__(self, app: WSGIApplication, admission: Admission, *, retry_after: int):
        self._app = app
        self._admission = admission
        self._retry_after = retry_after
        self._refusal = document(503, BUSY["full"])

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """As WSGI (PEP 3333) has it."""
        if not (self._admission.full and environ["PATH_INFO"] in MODEL_PATHS):
            return self._app(environ, start_response)
        metrics.refused("full")
        headers = [
            ("Content-Type", PROBLEM),
            ("Content-Length", str(len(self._refusal))),
            ("Retry-After", come_back(self._retry_after)),
        ]
        start_response("503 Service Unavailable", headers)
        return [self._refusal]
