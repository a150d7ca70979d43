from __future__ import annotations

import json
import unicodedata
from importlib import metadata
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from tests.conftest import application


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return application(max_characters=50, max_bytes=1000).test_client()


def test_status_is_ok_as_text_and_tells_the_model_as_json(client: FlaskClient) -> None:
    answer = client.get("/api/v1/status")
    assert (answer.status_code, answer.text, answer.mimetype) == (200, "OK", "text/plain")
    told = client.get("/api/v1/status?format=json").get_json()
    assert told["status"] == "OK" and told["ready"] is True and told["refused"] == ""
    assert told["model"]["version"] == metadata.version("clasificador-modelo")
    assert len(told["model"]["lineage"]["data"]["sha256"]) == 64


@pytest.mark.parametrize("text", ["bañera", "BAÑERA", "ban\u0303era", " bañera "])
def test_version_1_answers_the_label(client: FlaskClient, text: str) -> None:
    answer = client.get(f"/api/v1/modelo?texto={quote(text)}")
    assert (answer.status_code, answer.text) == (200, "fontanería")


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("bañera".encode(), ""),
        ("bañera".encode(), "text/plain"),
        ("bañera".encode(), "text/plain; charset=utf-8"),
        ("bañera".encode("latin-1"), "text/plain; charset=ISO-8859-1"),
        ("bañera 5 €".encode("cp1252"), 'text/plain; charset="windows-1252"'),
        (json.dumps("bañera").encode(), "application/json"),
        (json.dumps({"texto": "bañera"}).encode(), "application/json"),
    ],
)
def test_version_2_answers_ranked_tokens(client: FlaskClient, method: str, body: bytes, kind: str) -> None:
    answer = getattr(client, method)("/api/v2/modelo", data=body, content_type=kind)
    assert answer.status_code == 200
    found = answer.get_json()["classification"]
    assert found["info"] == {"count": len(found["tokens"]), "max_score": 5}
    assert found["tokens"][0]["token"] == "fontanería"
    assert all(isinstance(token["score"], int) and 1 <= token["score"] <= 5 for token in found["tokens"])


def test_members_are_in_the_order_of_the_contract(client: FlaskClient) -> None:
    text = client.post("/api/v2/modelo", data="grifo").get_data(as_text=True)
    assert text.startswith('{"classification":{"info":{"count":')
    assert '"token":"fontanería","score":' in text


POST = {"path": "/api/v2/modelo", "method": "POST"}
JSON = POST | {"content_type": "application/json"}


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"path": "/api/v1/modelo"}, 400),
        ({"path": "/api/v1/modelo?texto=%20"}, 400),
        ({"path": "/api/v1/modelo?texto=%ff"}, 400),
        ({"path": "/api/v1/modelo?texto=" + "a" * 51}, 422),
        ({"path": "/nowhere"}, 404),
        ({"path": "/api/v1/status", "method": "POST"}, 405),
        (POST, 400),
        (POST | {"data": b"\xff\xfe"}, 400),
        (POST | {"data": b"x" * 2000}, 413),
        (POST | {"data": b"<a/>", "content_type": "text/xml"}, 415),
        (POST | {"data": b"a", "content_type": "text/plain; charset=klingon"}, 415),
        (POST | {"data": b"a", "content_type": "text/plain; charset=unicode_escape"}, 415),
        (JSON | {"data": b"{"}, 400),
        (JSON | {"data": b"[" * 900}, 400),
        (JSON | {"data": b"[1]"}, 422),
        (JSON | {"data": b'{"text": "a"}'}, 422),
        (JSON | {"data": rb'"\ud800"'}, 422),
        (JSON | {"data": b'""'}, 400),
        (POST | {"data": ("a" + "\u0301" * 31).encode()}, 422),
    ],
)
def test_errors_are_problem_documents(client: FlaskClient, request_: dict[str, object], status: int) -> None:
    answer = client.open(**request_)  # type: ignore[arg-type]
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    problem = json.loads(answer.data)
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]


@pytest.mark.parametrize("piece", ["\u0301", "\u0301\u0327", "\u0f73", "\uff9e\u0301"])
def test_a_pile_of_marks_is_refused_before_it_is_normalised(monkeypatch: pytest.MonkeyPatch, piece: str) -> None:
    """To normalise it holds the interpreter for the square of its length: 64 KB for 1.7 s."""

    real: Any = unicodedata.normalize

    def normalize(form: str, text: str) -> Any:
        assert len(text) < 100
        return real(form, text)

    client = application().test_client()
    monkeypatch.setattr("servicio.text.unicodedata.normalize", normalize)
    answer = client.post("/api/v2/modelo", data=("a" + piece * 4000).encode())
    assert answer.status_code == 422
    for text in ("a" + "\u0301\u0327" * 15, "👩‍🔧" * 15, "ệ" * 50):
        assert client.post("/api/v2/modelo", data=text.encode()).status_code == 200


def test_nested_json_beyond_what_python_can_read_is_a_bad_request() -> None:
    client = application().test_client()
    answer = client.post("/api/v2/modelo", data=b"[" * 60_000, content_type="application/json")
    assert answer.status_code == 400


def test_a_defect_is_a_problem_without_its_inner_workings(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("inner secret")

    client = application().test_client()
    monkeypatch.setattr("servicio.metrics.predicted", broken)
    answer = client.get("/api/v1/modelo?texto=a")
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert b"inner secret" not in answer.data


def test_the_page_and_the_document_are_served(client: FlaskClient) -> None:
    with client.get("/") as page:
        assert page.mimetype == "text/html"
        assert page.headers["Content-Security-Policy"] == "default-src 'self'"
        for path in ("/static/pagina.js", "/static/pagina.css"):
            assert path in page.get_data(as_text=True)
            with client.get(path) as part:
                assert part.status_code == 200
    assert client.get("/openapi.json").get_json()["openapi"] == "3.1.0"
