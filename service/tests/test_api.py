from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from servicio import create_app
from servicio.settings import Settings


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return create_app(Settings(max_characters=50, max_bytes=1000)).test_client()


def test_status(client: FlaskClient) -> None:
    answer = client.get("/api/v1/status")
    assert (answer.status_code, answer.text, answer.mimetype) == (200, "OK", "text/plain")


@pytest.mark.parametrize("text", ["bañera", "BAÑERA", "ban\u0303era", " bañera "])
def test_version_1_answers_the_label(client: FlaskClient, text: str) -> None:
    answer = client.get(f"/api/v1/modelo?texto={quote(text)}")
    assert (answer.status_code, answer.text) == (200, "fontanería")


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("bañera".encode(), "text/plain; charset=utf-8"),
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


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"path": "/api/v1/modelo"}, 400),
        ({"path": "/api/v1/modelo?texto=%20"}, 400),
        ({"path": "/api/v1/modelo?texto=%ff"}, 400),
        ({"path": "/api/v1/modelo?texto=" + "a" * 51}, 422),
        ({"path": "/nowhere"}, 404),
        ({"path": "/api/v1/status", "method": "POST"}, 405),
        ({"path": "/api/v2/modelo", "method": "POST"}, 400),
        ({"path": "/api/v2/modelo", "method": "POST", "data": b"\xff\xfe"}, 400),
        ({"path": "/api/v2/modelo", "method": "POST", "data": b"x" * 2000}, 413),
        ({"path": "/api/v2/modelo", "method": "POST", "data": b"<a/>", "content_type": "text/xml"}, 415),
        ({"path": "/api/v2/modelo", "method": "POST", "data": b"{", "content_type": "application/json"}, 400),
        ({"path": "/api/v2/modelo", "method": "POST", "data": b"[1]", "content_type": "application/json"}, 422),
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


def test_a_defect_is_a_problem_without_its_inner_workings(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: str) -> None:
        raise RuntimeError("inner secret")

    client = create_app(Settings()).test_client()
    monkeypatch.setattr("servicio.classify", broken)
    answer = client.get("/api/v1/modelo?texto=a")
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert b"inner secret" not in answer.data


def test_settings_come_from_the_environment_and_are_checked() -> None:
    assert Settings.from_environment({"SERVICIO_MAX_BYTES": "7"}).max_bytes == 7
    with pytest.raises(ValueError, match="SERVICIO_MAX_CHARACTERS"):
        Settings.from_environment({"SERVICIO_MAX_CHARACTERS": "-1"})
