"""The main process: starts the workers, replaces those that end, ends well. Granian serves."""

from __future__ import annotations

import logging
import logging.config
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.server.mp import MPServer, WorkerProcess

from servicio import admin, capture, logs, signals, worker
from servicio.board import Board
from servicio.settings import Settings

# Of a request's headers, and of an idle connection, in milliseconds: longer than the 60 s for which proxies keep one to
# use it again, or they would send a request into one that has just been closed.
HEADER_TIMEOUT = 75_000
# Of a worker, idle ones too. Granian accepts no more: who comes then waits, unseen, until one of them is closed.
# One whose headers come slowly takes 18 KB: all of them 38 MB, which a container of 128 MB has left.
CONNECTIONS = 2048
OTHER_FILES = 100
# After a worker was killed with -9, in seconds. When the kernel did it for want of memory, not all of that is free at
# once: it killed the main process as well, which forked the next worker (seen once, 58 ms later, in a pod of 256 MB).
FREEING = 0.25

log = logging.getLogger("servicio.server")


class Server(MPServer):
    """Granian with our way to start a worker and to end."""

    def __init__(self, settings: Settings, board: Board):
        super().__init__(
            "servicio",
            address=settings.host,
            port=settings.port,
            interface=Interfaces.RSGI,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            workers=settings.workers,
            backpressure=_connections(),
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT),
            respawn_failed_workers=True,
            workers_kill_timeout=max(1, round(settings.stop_timeout)),
            log_dictconfig=logs.configuration(settings.log_level),
        )
        self._settings = settings
        self._board = board

    def _init_shared_socket(self) -> None:
        """One listening socket for all workers: who connects while one is replaced waits, and is not refused."""
        address = (self.bind_addr, self.bind_port)
        family = socket.AF_INET6 if ":" in self.bind_addr else socket.AF_INET
        self._sso = socket.create_server(address, family=family, backlog=self.backlog)
        self._sso.set_inheritable(True)
        # connections inherit it; without, an answer waits 40 ms for the client to acknowledge its first part
        self._sso.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ssp = None
        # what Granian says of its own types is not what they are
        self._shd: Any = SocketHolder(self._sso.fileno(), False, self.backlog)  # type: ignore[call-arg]

    def _respawn_workers(self, workers: list[int], *args: Any, **kwargs: Any) -> None:
        if any(self.wrks[number].inner.exitcode == -signal.SIGKILL for number in workers):
            time.sleep(FREEING)
        super()._respawn_workers(workers, *args, **kwargs)

    # Granian itself overrides it so, and calls it so
    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> WorkerProcess:  # type: ignore[override]
        # until the worker says more: one that hangs before that would be waited for without an end
        self._board[idx].expect(self._settings.start_timeout)
        return super()._spawn_worker(idx, target, partial(worker.start, self._settings, self._board, idx))

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        """SIGTERM: not ready from now on, but serving on for ``drain_time``; a second one ends it at once."""
        stop: Callable[[], None] = super().signal_handler_interrupt
        if self._board.draining:
            stop()
            return
        self._board.draining = True
        log.info("draining for %s s", self._settings.drain_time)
        timer = threading.Timer(self._settings.drain_time, stop)
        timer.daemon = True
        timer.start()


def _connections() -> int:
    """How many a worker accepts: CONNECTIONS, or what the limit of open files allows, which is raised for it."""
    wanted = CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        wanted = soft
    return wanted - OTHER_FILES


def run(settings: Settings, counts: Path) -> None:
    """Serve until SIGTERM or SIGINT; ``counts`` is the folder in which the workers count.

    Raises:
        OSError: a port is taken.
        SystemExit: workers end as soon as they start.
    """

    def leave(number: int, frame: object) -> None:
        """Nothing is served yet."""
        shutil.rmtree(counts, ignore_errors=True)
        os._exit(0)

    # Granian sets its own when it starts; a signal that came before would be lost
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, leave)
    logging.config.dictConfig(logs.configuration(settings.log_level))
    # the board is memory that only forked processes share
    multiprocessing.set_start_method("fork", force=True)
    board = Board(settings.workers, settings.maintenance_file)

    def switch(number: int, frame: object) -> None:
        board.maintenance = number == signal.SIGUSR1

    signals.take()
    signal.signal(signal.SIGUSR1, switch)
    signal.signal(signal.SIGUSR2, switch)
    server = Server(settings, board)
    admin_server = admin.serve(settings, board)
    worker.keep()
    try:
        server.serve()
    finally:
        admin_server.shutdown()
        if settings.capture_dir is not None:
            capture.close_left(settings.capture_dir)
        shutil.rmtree(counts, ignore_errors=True)
