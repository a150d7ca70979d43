"""One worker process: loads the model and tries it before anything is served."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys

from servicio import counts, signals
from servicio import model as models
from servicio.admission import Admission
from servicio.api import create_app
from servicio.board import REFUSED, SERVING, Board
from servicio.door import Door
from servicio.settings import Settings
from servicio.watchdog import Watchdog

log = logging.getLogger("servicio.worker")


def start(settings: Settings, board: Board, number: int) -> Door:
    """The application that the server runs in this process, the worker with this number."""
    _take_signals()
    _take_turns()
    counts.go_on()
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
        app = create_app(settings, model, board)
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
    door = Door(app, admission, board, settings, headers=headers)
    watchdog.watch_loop(door)
    keep()
    return door


def keep() -> None:
    """What has been made by now stays: the collector, which stops everything, need not look at it again.

    Without, it took a worker some 30 ms once in a second under load, and the probes' process once 70 ms.
    """
    gc.collect()
    gc.freeze()


def _take_signals() -> None:
    """Not those of the main process; the server sets its own when the model is loaded."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_DFL)
    for one in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(one, signal.SIG_IGN)
    # the main process has a thread that waits for them; here the event loop is woken by them
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.TAKEN)


def _take_turns() -> None:
    """How the threads of this process, which need the interpreter one at a time, share a processor and the interpreter.

    A thread that has been woken does not interrupt the one that runs (SCHED_BATCH): for each request threads wake one
    another some six times, and without this change places as often. The event loop has the interpreter back after
    a third of a millisecond, instead of five, while the model is busy.
    """
    sys.setswitchinterval(0.0003)
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # some sandboxes forbid it: it works without, only slower
        log.info("the threads cannot be scheduled as a batch: %s", error)
