"""One worker process: loads the model and tries it before anything is served."""

from __future__ import annotations

import logging
import os
import signal
from typing import TYPE_CHECKING

from servicio import logs, signals
from servicio import model as models
from servicio.admission import Admission
from servicio.api import create_app
from servicio.board import REFUSED, SERVING, Board
from servicio.door import Door
from servicio.settings import Settings
from servicio.watchdog import Watchdog

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger("servicio.worker")


def start(settings: Settings, board: Board, number: int) -> WSGIApplication:
    """The application that the server runs in this process, the worker with this number."""
    _take_signals()
    admission = Admission(
        running=settings.running,
        waiting=settings.waiting,
        reading=settings.reading,
        job_timeout=settings.job_timeout,
        standing_wait=settings.standing_wait,
    )
    slot = board[number]
    watchdog = Watchdog(settings, admission, slot)
    watchdog.start()
    with admission.job(settings.start_timeout):
        model = models.load()
        app = create_app(settings, model, admission, board)
    about = {"version": model.version, "digest": model.digest, "data": model.data_digest, "refused": model.refused}
    if model.refused:
        log.error("not ready: %s", model.refused)
        slot.become(REFUSED, about)
    else:
        watchdog.try_model(model)
        slot.become(SERVING, about)
        log.info("worker %d (%d) is ready", number, os.getpid(), extra={"model": about})
    headers = {"Model-Version": model.version, "Model-Digest": model.digest, "Data-Digest": model.data_digest}
    if settings.pod is not None:
        headers["Served-By"] = settings.pod
    request_log = logs.RequestLog() if settings.log_requests else None
    return Door(app, admission, board, retry_after=settings.retry_after, headers=headers, log=request_log)


def _take_signals() -> None:
    """Not those of the main process; the server sets its own when the model is loaded."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: os._exit(0))
    for one in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(one, signal.SIG_IGN)
    signals.take()
