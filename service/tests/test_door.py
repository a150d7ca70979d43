from __future__ import annotations

import json

import pytest
from servicio import logs
from servicio.admission import Admission
from servicio.board import Board
from servicio.door import Door
from werkzeug.test import Client
from werkzeug.wrappers import Response

HEADERS = {"Model-Version": "7"}


def admission() -> Admission:
    return Admission(running=1, waiting=0, reading=1, job_timeout=5, standing_wait=1)


def client(places: Admission | None = None, board: Board | None = None, log: logs.RequestLog | None = None) -> Client:
    app = Response("inside")
    return Client(Door(app, places or admission(), board or Board(1), retry_after=1, headers=HEADERS, log=log))


def test_only_the_model_is_refused_and_only_while_it_is_full() -> None:
    places = admission()
    outside = client(places)
    assert outside.get("/api/v1/modelo").text == "inside"
    with places.guest():
        for path in ("/api/v1/modelo", "/api/v2/modelo"):
            answer = outside.get(path)
            assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
            assert answer.headers["Retry-After"] == "1"
            assert answer.headers["Model-Version"] == "7"
        assert outside.get("/api/v1/status").text == "inside"
    assert outside.get("/api/v1/modelo").text == "inside"


def test_a_request_keeps_its_id_if_it_has_a_decent_one() -> None:
    outside = client()
    assert outside.get("/", headers={"X-Request-ID": "a-1"}).headers["X-Request-ID"] == "a-1"
    asked = ("", "a b", "x" * 65, "ñ")
    given = {outside.get("/", headers={"X-Request-ID": bad}).headers["X-Request-ID"] for bad in asked}
    assert len(given) == 4
    assert {len(one) for one in given} == {32}


def test_while_draining_connections_end() -> None:
    board = Board(1)
    outside = client(board=board)
    assert "Connection" not in outside.get("/").headers
    board.draining = True
    assert outside.get("/").headers["Connection"] == "close"


def test_the_log_has_ids_and_never_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    log = logs.RequestLog(interval=3600)
    outside = client(log=log)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    outside.get(
        "/api/v1/modelo?texto=secreto",
        headers={"X-Request-ID": "id-7", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"},
    )
    outside.open("/secreto", method="SECRETO", headers={"traceparent": "secreto"})
    assert capsys.readouterr().out == ""
    log.flush()
    said = capsys.readouterr().out
    first, second = map(json.loads, said.splitlines())
    assert (first["request_id"], first["trace_id"]) == ("id-7", trace)
    assert (first["route"], first["code"]) == ("/api/v1/modelo", 200)
    assert (second["trace_id"], second["route"], second["method"]) == (None, "otro", "otro")
    assert "secreto" not in said.lower()
