from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from granian.rsgi import ProtocolClosed
from servicio.admission import Admission
from servicio.board import Board
from servicio.door import Door
from servicio.settings import Settings
from werkzeug.wrappers import Response

MODEL = "/api/v2/modelo"


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is answered is counted and logged only when the door is told to."""
    monkeypatch.setattr("servicio.door.INTERVAL", 3600)


class Headers(dict[str, str]):
    """As Granian's: any number of looks, no changes."""


class Scope:
    """A request as Granian tells it."""

    def __init__(self, path: str, method: str, headers: dict[str, str]):
        self.path, self.method, self.query_string = path, method, "texto=secreto"
        self.headers = Headers({name.lower(): value for name, value in headers.items()})


class Protocol:
    """How a request is received and answered."""

    def __init__(self, *pieces: bytes, fails: bool = False, never: bool = False):
        self._pieces, self._fails, self._never = list(pieces), fails, never
        self.asked = 0
        self.code, self.body = 0, b""
        self.headers: dict[str, str] = {}

    async def __call__(self) -> bytes:
        self.asked += 1
        if self._never:
            await asyncio.sleep(60)
        if self._fails:
            raise ProtocolClosed
        return b"".join(self._pieces)

    def __aiter__(self) -> Protocol:
        return self

    async def __anext__(self) -> bytes:
        self.asked += 1
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop(0)

    def response_bytes(self, code: int, headers: list[tuple[str, str]], body: bytes) -> None:
        assert not self.code, "answered twice"
        self.code, self.headers, self.body = code, dict(headers), body


def app(environ: Any, start_response: Any) -> Any:
    """Answers with what it was asked."""
    if environ["PATH_INFO"] == "/broken":
        raise ZeroDivisionError
    body = environ["wsgi.input"].read()
    assert environ.get("CONTENT_LENGTH", "0") in (str(len(body)), "11")
    told = {"body": body.decode(), "query": environ["QUERY_STRING"], "host": environ.get("HTTP_HOST")}
    return Response(json.dumps(told))(environ, start_response)


def admission(running: int = 1, waiting: int = 0) -> Admission:
    return Admission(running=running, waiting=waiting, reading=1, job_timeout=5, standing_wait=1)


def make(places: Admission | None = None, board: Board | None = None, **settings: Any) -> Door:
    given = Settings(retry_after=1, **settings)
    return Door(app, places or admission(), board or Board(1), given, headers={"Model-Version": "7"})


def ask(door: Door, path: str = MODEL, method: str = "POST", *pieces: bytes, **headers: str) -> Protocol:
    """Ask the door in a loop of its own."""
    protocol = Protocol(*pieces)
    return asked(door, protocol, path, method, **headers)


def asked(door: Door, protocol: Protocol, path: str = MODEL, method: str = "POST", **headers: str) -> Protocol:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def once() -> None:
        door.__rsgi_init__(asyncio.get_running_loop())
        async with asyncio.timeout(5):
            await door.__rsgi__(Scope(path, method, named), protocol)  # type: ignore[arg-type]

    asyncio.run(once())
    return protocol


def test_only_the_model_is_refused_and_only_while_it_is_full() -> None:
    places = admission()
    door = make(places)
    assert ask(door, "/api/v1/modelo", "GET").code == 200
    places.let_in("somebody")
    for path in ("/api/v1/modelo", MODEL):
        answer = ask(door, path, "GET")
        assert (answer.code, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert (answer.headers["Retry-After"], answer.headers["Model-Version"]) == ("1", "7")
        assert len(answer.body) == int(answer.headers["Content-Length"])
    assert ask(door, "/api/v1/status", "GET").code == 200
    places.dismiss("somebody")
    assert ask(door, "/api/v1/modelo", "GET").code == 200


def test_flask_sees_the_request_as_it_came() -> None:
    answer = ask(make(), MODEL, "POST", "bañ".encode(), b"era", Content_Length="7", Host="aquí")
    assert json.loads(answer.body) == {"body": "bañera", "query": "texto=secreto", "host": "aquí"}
    answer = ask(make(), MODEL, "POST", "bañ".encode(), b"era", b"", Transfer_Encoding="chunked")
    assert json.loads(answer.body)["body"] == "bañera"


@pytest.mark.parametrize("query", ["texto=ba%C3%B1era", "texto=bañera", "texto=5€", "😀"])
def test_flask_sees_the_bytes_of_a_query_as_letters(query: str) -> None:
    seen = []

    def look(environ: Any, start_response: Any) -> Any:
        seen.append(environ["QUERY_STRING"])
        return app(environ, start_response)

    door = Door(look, admission(), Board(1), Settings(), headers={})
    scope = Scope(MODEL, "GET", {})
    scope.query_string = query

    async def once() -> None:
        door.__rsgi_init__(asyncio.get_running_loop())
        await door.__rsgi__(scope, Protocol())  # type: ignore[arg-type]

    asyncio.run(once())
    assert seen == [query.encode().decode("latin-1")]


@pytest.mark.parametrize(
    ("path", "method", "headers", "closes"),
    [
        ("/", "POST", {"Content_Length": "8192"}, False),
        ("/", "POST", {"Content_Length": "8193"}, True),
        ("/", "POST", {"Transfer_Encoding": "chunked"}, True),
        (MODEL, "POST", {"Content_Length": "5"}, False),
        (MODEL, "POST", {"Content_Length": "60000"}, False),
        (MODEL, "POST", {"Content_Length": "100000"}, True),
        (MODEL, "POST", {"Transfer_Encoding": "chunked"}, False),
    ],
)
def test_who_is_answered_before_the_body_was_read_is_told_that_the_connection_ends(
    path: str, method: str, headers: dict[str, str], closes: bool
) -> None:
    bare = Door(Response("OK"), admission(), Board(1), Settings(), headers={})
    assert ("Connection" in ask(bare, path, method, b"", **headers).headers) is closes
    full = admission()
    full.let_in("somebody")
    if path == MODEL:
        large = headers.get("Content_Length") != "5"
        answer = ask(make(full), path, method, **headers)
        assert (answer.code, "Connection" in answer.headers) == (503, large)


def test_a_defect_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    answer = ask(make(), "/broken", "GET", X_Request_ID="id-9")
    assert (answer.code, answer.headers["Content-Type"]) == (500, "application/problem+json")
    assert "ZeroDivisionError" in caplog.text and caplog.records[0].__dict__["request_id"] == "id-9"


@pytest.mark.parametrize("headers", [{"Content_Length": "11"}, {"Transfer_Encoding": "chunked"}])
def test_of_a_body_that_is_too_long_no_more_is_received_than_shows_it(headers: dict[str, str]) -> None:
    protocol = Protocol(*[b"x" * 4] * 100)
    asked(make(max_bytes=10), protocol, MODEL, "POST", **headers)
    assert protocol.asked == (0 if "Content_Length" in headers else 3)


def test_a_body_that_breaks_off_is_the_clients_fault() -> None:
    places = admission()
    answer = asked(make(places), Protocol(fails=True), Content_Length="5")
    assert (answer.code, "body ended" in answer.body.decode()) == (400, True)
    assert not places.is_full() and places.reading == 0


@pytest.mark.parametrize("ends", [(), (b"", b"")])
def test_so_is_one_in_chunks_that_does_not_end_as_a_whole_one_does(ends: tuple[bytes, ...]) -> None:
    answer = ask(make(), MODEL, "POST", b"grifo", *ends, Transfer_Encoding="chunked")
    assert (answer.code, answer.headers["Connection"]) == (400, "close")


def test_a_body_that_does_not_come_is_given_up() -> None:
    places = admission()
    begun = time.monotonic()
    answer = asked(make(places, read_timeout=0.1), Protocol(never=True), Content_Length="5")
    assert (answer.code, answer.headers["Connection"]) == (408, "close")
    assert time.monotonic() - begun < 1
    assert not places.is_full() and places.reading == 0


def test_patience_must_be_a_number() -> None:
    door = make()
    assert ask(door, MODEL, "GET", X_Request_Timeout_Ms="50").code == 200
    for bad in ("0", "-1", "1e9", "soon", "9" * 30):
        answer = ask(door, MODEL, "GET", X_Request_Timeout_Ms=bad)
        assert answer.code == 400
        assert "X-Request-Timeout-Ms must be" in answer.body.decode()


def test_a_request_keeps_its_id_if_it_has_a_decent_one() -> None:
    door = make()
    assert ask(door, "/", "GET", X_Request_ID="a-1").headers["X-Request-ID"] == "a-1"
    given = {ask(door, "/", "GET", X_Request_ID=bad).headers["X-Request-ID"] for bad in ("", "a b", "x" * 65, "ñ")}
    assert len(given) == 4
    assert {len(one) for one in given} == {32}


def test_while_draining_connections_end() -> None:
    board = Board(1)
    door = make(board=board)
    assert "Connection" not in ask(door, "/", "GET").headers
    board.draining = True
    assert ask(door, "/", "GET").headers["Connection"] == "close"


def test_the_log_has_ids_and_never_the_text(capfd: pytest.CaptureFixture[str]) -> None:
    door = make()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    ask(door, "/api/v1/modelo", "GET", X_Request_ID="id-7", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    ask(door, "/secreto", "SECRETO", traceparent="secreto")
    assert capfd.readouterr().out == ""
    with asyncio.Runner() as runner:
        door.__rsgi_del__(runner.get_loop())
    said = capfd.readouterr().out
    first, second = map(json.loads, said.splitlines())
    assert (first["request_id"], first["trace_id"]) == ("id-7", trace)
    assert (first["route"], first["code"]) == ("/api/v1/modelo", 200)
    assert (second["trace_id"], second["route"], second["method"]) == (None, "otro", "otro")
    assert "secreto" not in said.lower()
