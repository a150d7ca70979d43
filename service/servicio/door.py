"""What every request passes before and after Flask: its id, its place, its headers, its line in the log, its count.

It speaks RSGI, which is Granian's asynchronous interface. An event loop looks at each request as soon as it has come:
the whole queue is seen, what finds no place is refused for little, and who sends a body slowly holds nobody up. What
asks the model is run, as WSGI, in the threads of the admission; what does not, in the loop.
"""

from __future__ import annotations

import asyncio
import io
import logging
import random
import re
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from granian.rsgi import HTTPProtocol, ProtocolClosed, ProtocolError, Scope

from servicio import logs, metrics
from servicio.admission import Admission, Busy
from servicio.board import Board
from servicio.problem import BUSY, DEFECT, PROBLEM, document
from servicio.settings import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

MODEL_PATHS = frozenset({"/api/v1/modelo", "/api/v2/modelo"})
ROUTES = MODEL_PATHS | {"/", "/api/v1/status", "/openapi.json"}
REQUEST_ID = "servicio.request_id"  # in WSGI's environment
# How often answers and refusals are counted, in seconds: more rarely, and more at a time, those who come meanwhile wait
# for it. Less often when there was nothing.
INTERVAL, IDLE_INTERVAL = 0.01, 0.05
REFUSALS = 1.0  # how often refusals are a line of the log, in seconds
TICK = 0.05  # how often the loop looks for who has waited too long, in seconds
# What of a body that nobody reads the server still takes to keep the connection, in bytes; it closes it when there is
# more, or when it cannot know.
SKIPPED = 8192

_DECENT_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_MILLISECONDS = re.compile(r"[1-9][0-9]{0,8}")

# What is the same in every request's environment, or told to nobody here.
_WSGI: WSGIEnvironment = {
    "SCRIPT_NAME": "",
    "SERVER_NAME": "servicio",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}

log = logging.getLogger("servicio.door")


class _Request:
    """A request, from when it has come until it is answered; for a call of the model, what `Admission` has as a job."""

    __slots__ = ("answered", "begun", "body", "door", "headers", "id", "method", "path", "protocol", "query", "unread")
    answered: asyncio.Future[None]

    def __init__(self, door: Door, scope: Scope, protocol: HTTPProtocol):
        self.begun = time.perf_counter()
        self.door = door
        self.protocol = protocol
        # each look at the scope makes them anew
        self.headers = headers = scope.headers
        self.method = scope.method
        self.path = scope.path
        self.query = scope.query_string
        self.body = b""
        self.unread = True  # until it is known that there is no body, or that all of it is received
        asked = headers.get("x-request-id", "")
        self.id = asked if _DECENT_ID.fullmatch(asked) else f"{random.getrandbits(128):032x}"

    def run(self) -> None:
        """In a thread of the admission."""
        self.door.serve(self)
        self.door.end(self)

    def refuse(self, reason: str) -> None:
        """In whatever thread."""
        self.door.refuse(self, reason)
        self.door.end(self)

    @property
    def has_body(self) -> bool:
        """Whether one is on its way."""
        return self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    @property
    def ends_connection(self) -> bool:
        """Whether the server cannot use the connection again, for what it would have to skip."""
        length = self.headers.get("content-length")
        return int(length) > SKIPPED if length is not None else "transfer-encoding" in self.headers

    def environ(self) -> WSGIEnvironment:
        """As WSGI has it (PEP 3333): of what is not ASCII each byte is a letter."""
        query = self.query
        environ = _WSGI | {
            REQUEST_ID: self.id,
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path.encode().decode("latin-1"),
            "QUERY_STRING": query if query.isascii() else query.encode().decode("latin-1"),
            "wsgi.input": io.BytesIO(self.body),
        }
        for name, value in self.headers.items():
            if name == "transfer-encoding":  # that was on the way to here
                continue
            variable = _variable(name)
            environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
        if self.body:
            environ["CONTENT_LENGTH"] = str(len(self.body))
        return environ


class Door:
    """Wraps ``app``: calls of the model are let in while ``admission`` is not full; all others always are.

    What is answered and refused is counted and logged together, every ``INTERVAL`` seconds: the more each costs, the
    less is left for those who are let in.
    """

    _loop: asyncio.AbstractEventLoop

    def __init__(
        self,
        app: WSGIApplication,
        admission: Admission,
        board: Board,
        settings: Settings,
        *,
        headers: Mapping[str, str],
    ):
        self._app = app
        self._admission = admission
        self._board = board
        self._settings = settings
        self._deadline_header = settings.deadline_header.lower()
        self._headers = list(headers.items())
        self._refused: deque[str] = deque()
        # of each: when, its path, method, id and traceparent, the status, how long it took; never the request itself
        self._answered: deque[tuple[float, str, str, str, str, int, float]] = deque()
        self._late: set[asyncio.Task[Any]] = set()
        # Of requests that have their answer. To wake the loop for each of them would cost more than it is worth: their
        # coroutines end when it next has something to do.
        self._served: deque[asyncio.Future[None]] = deque()
        self.ticked = 0.0
        self._unsaid: Counter[str] = Counter()
        self._said_at = 0.0

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian calls it before the first request."""
        self._loop = loop
        self._tick()
        threading.Thread(target=self._tell, name="requests", daemon=True).start()

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Granian calls it after the last request."""
        self.tell()
        logs.OUTPUT.drain()

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Granian calls it for each request."""
        if self._served:
            self._end_served()
        request = _Request(self, scope, protocol)
        if request.path not in MODEL_PATHS:
            self.serve(request)
        elif self._admission.is_full():
            self.refuse(request, "full")
        else:
            await self._let_in(request)

    async def _let_in(self, request: _Request) -> None:
        admission = self._admission
        admission.let_in(request)
        task = None
        try:
            patience = self._patience(request)
            if request.has_body:
                task = asyncio.current_task()
                admission.read(task)
                request.body = await self._body(request)
                admission.have_read(task)
            else:
                request.unread = False
            request.answered = self._loop.create_future()
            admission.submit(request, patience)
            await request.answered
        except Busy as busy:
            self.refuse(request, busy.reason)
        except _Wrong as wrong:
            self._problem(request, wrong)
        except (ProtocolClosed, ProtocolError):
            self._problem(request, _Wrong(400, "The body ended before its length."))
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            self._late.discard(task)
            self._problem(request, _Wrong(408, f"The body did not come within {self._settings.read_timeout:g} s."))
        finally:
            admission.have_read(task)
            admission.dismiss(request)

    def _body(self, request: _Request) -> Awaitable[bytes]:
        """The body; of one that is too long no more than shows that it is."""
        length = request.headers.get("content-length")
        if length is None:
            return self._pieces(request)
        if int(length) > self._settings.max_bytes:
            return _nothing()
        request.unread = False
        return request.protocol()

    async def _pieces(self, request: _Request) -> bytes:
        received: bytes = b""
        empty = 0
        async for piece in request.protocol:
            received += piece
            empty += not piece
            if len(received) > self._settings.max_bytes:
                return received
        # Granian ends what breaks off as it ends what is whole. But a whole body has one empty piece, its last; one
        # that is broken, or has trailers, which nobody sends, has one for that too.
        if empty != 1:
            raise ProtocolClosed
        request.unread = False
        return received

    def _patience(self, request: _Request) -> float:
        """How long a request may wait for a place, in seconds."""
        asked = request.headers.get(self._deadline_header)
        if asked is None:
            return self._settings.max_wait
        if not _MILLISECONDS.fullmatch(asked):
            raise _Wrong(400, f"{self._settings.deadline_header} must be a positive whole number of milliseconds.")
        return min(self._settings.max_wait, int(asked) / 1000)

    def serve(self, request: _Request) -> None:
        """Have Flask answer, and send it, whole."""
        try:
            code, headers, answer = self._from_flask(request)
        except Exception:
            log.exception("unexpected error", extra={"request_id": request.id})
            code, answer = 500, _document(500, DEFECT)
            headers = _headers_of(answer)
        request.protocol.response_bytes(code, headers + self._more(request), answer)
        self._count(request, code)

    def _from_flask(self, request: _Request) -> tuple[int, list[tuple[str, str]], bytes]:
        told: list[tuple[int, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            told.append((int(status[:3]), headers))

        pieces = self._app(request.environ(), start_response)
        try:
            answer = b"".join(pieces)
        finally:
            if hasattr(pieces, "close"):
                pieces.close()
        return *told[-1], answer

    def refuse(self, request: _Request, reason: str) -> None:
        """There is no place."""
        self._refused.append(reason)
        # those who are refused together do not come back together
        headers = random.choice(_refusals(self._settings.retry_after, reason))  # noqa: S311
        request.protocol.response_bytes(503, headers + self._more(request), _document(503, BUSY[reason]))

    def end(self, request: _Request) -> None:
        """A call of the model has its answer; in whatever thread."""
        self._admission.dismiss(request)
        self._served.append(request.answered)

    def _problem(self, request: _Request, wrong: _Wrong) -> None:
        answer = _document(wrong.code, str(wrong))
        request.protocol.response_bytes(wrong.code, _headers_of(answer) + self._more(request, close=True), answer)
        self._count(request, wrong.code)

    def _more(self, request: _Request, close: bool = False) -> list[tuple[str, str]]:
        more = [("X-Request-ID", request.id), *self._headers]
        if close or self._board.draining or (request.unread and request.ends_connection):
            more.append(("Connection", "close"))
        return more

    def _tick(self) -> None:
        self.ticked = now = time.monotonic()
        self._end_served()
        self._admission.expire()
        for task in self._admission.reading_since(now - self._settings.read_timeout):
            if isinstance(task, asyncio.Task):
                self._late.add(task)
                task.cancel()
        self._loop.call_later(TICK, self._tick)

    def _end_served(self) -> None:
        while self._served:
            answered = self._served.popleft()
            if not answered.done():  # it is when the server ends and has cancelled who waited for it
                answered.set_result(None)

    def _count(self, request: _Request, code: int) -> None:
        seconds = time.perf_counter() - request.begun
        trace = request.headers.get("traceparent", "")
        self._answered.append((time.time(), request.path, request.method, request.id, trace, code, seconds))

    def tell(self) -> bool:
        """Count and log what was answered and refused since it was last called; whether that was anything."""
        lines = []
        for _ in range(len(self._answered)):
            at, path, method, request_id, trace, code, seconds = self._answered.popleft()
            route = path if path in ROUTES else metrics.OTHER
            method = method if method in metrics.METHODS else metrics.OTHER
            metrics.answered(route, method, code, seconds)
            found = _TRACEPARENT.fullmatch(trace)
            trace_id = found[1] if found else None
            told = {"request_id": request_id, "trace_id": trace_id, "method": method, "route": route, "code": code}
            told["ms"] = round(seconds * 1000, 3)
            lines.append((at, told))
        if lines and self._settings.log_requests:
            logs.write_requests(lines)
        refused = Counter(self._refused.popleft() for _ in range(len(self._refused)))
        for reason, count in refused.items():
            metrics.refused(reason, count)
        if dropped := logs.OUTPUT.dropped():
            metrics.lines_dropped(dropped)
        self._unsaid += refused
        if self._unsaid and time.monotonic() - self._said_at >= REFUSALS:
            log.warning(
                "requests refused: %s", ", ".join(f"{count} {reason}" for reason, count in self._unsaid.items())
            )
            self._unsaid.clear()
            self._said_at = time.monotonic()
        return bool(lines or refused)

    def _tell(self) -> None:
        interval = INTERVAL
        while True:
            time.sleep(interval)
            try:
                interval = INTERVAL if self.tell() else IDLE_INTERVAL
            except Exception:  # shared memory may be full; what is answered meanwhile must not pile up
                log.exception("requests cannot be counted or logged")


async def _nothing() -> bytes:
    return b""


class _Wrong(Exception):
    """A request that the door cannot take, and the status that says so."""

    def __init__(self, code: int, detail: str):
        super().__init__(detail)
        self.code = code


@lru_cache(maxsize=256)
def _variable(header: str) -> str:
    variable = header.upper().replace("-", "_")
    return variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"


@lru_cache
def _document(status: int, detail: str) -> bytes:
    return document(status, detail)


def _headers_of(problem: bytes) -> list[tuple[str, str]]:
    return [("Content-Type", PROBLEM), ("Content-Length", str(len(problem)))]


@lru_cache
def _refusals(retry_after: int, reason: str) -> list[list[tuple[str, str]]]:
    """The headers of a refusal, for each time after which one may be told to come back."""
    fixed = _headers_of(_document(503, BUSY[reason]))
    return [[*fixed, ("Retry-After", str(seconds + 1))] for seconds in range(retry_after)]
