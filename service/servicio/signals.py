"""Signals, taken by a thread that does nothing else.

Python runs a signal's handler when its main thread next runs. In a process with threads the signal may wake another one
while the main thread sleeps in a lock, and the handler never runs: measured, once in 20 starts.
"""

from __future__ import annotations

import logging
import signal
import threading

TAKEN = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})

log = logging.getLogger("servicio.signals")


def take() -> None:
    """From now on the handlers that `signal.signal` set are called by a thread; call it before any other is started.

    A signal that has no handler is ignored from now on: set one first.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, TAKEN)
    threading.Thread(target=_take, name="signals", daemon=True).start()


def _take() -> None:
    while True:
        number = signal.sigwait(TAKEN)
        handler = signal.getsignal(number)
        if callable(handler):
            try:
                handler(number, None)
            except Exception:  # the next signal must be taken, too
                log.exception("the handler of signal %d failed", number)
