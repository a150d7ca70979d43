"""Hostile requests at the real server: no 5xx but the 503 that is meant, no crash.

``HOSTILE_REQUESTS`` says how many (default 150); 10,000 take some minutes.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Service, serving

REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "150"))

# one service for all of them
pytestmark = pytest.mark.xdist_group("hostile")

paths = st.one_of(
    st.sampled_from(["/api/v1/modelo", "/api/v2/modelo", "/api/v1/status", "/", "/openapi.json", "/static/pagina.js"]),
    st.sampled_from(["/static/../settings.py", "/static/%2e%2e/settings.py", "//", "/%00", "/api/v1/modelo/", "*"]),
    st.text(max_size=30).map(lambda text: "/" + quote_from_bytes(text.encode("utf-8", "surrogatepass"))),
)
# what takes the longest to normalise, to split, to search
letters = st.one_of(st.characters(), st.sampled_from("\ufdfa\u0344\u1e9b\u0323\u0000\u202e\ufeff\U0001f469\u200d"))
texts = st.one_of(
    st.text(letters, max_size=300),
    st.sampled_from(["\ufdfa", "a\u0300", "ñ", "🙂", " ", "0", "-"]).map(lambda piece: piece * 9_000),
)
bodies = st.one_of(
    st.binary(max_size=300),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([b"[" * 50_000, b'{"texto":' * 5_000, b"1" * 60_000, b'"\\ud800"', b"NaN", b"x" * 70_000, b""]),
    st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.sampled_from(["texto", "a"]), inner)).map(
        lambda value: repr(value).replace("'", '"').replace("None", "null").encode("utf-8", "replace")
    ),
)
kinds = st.one_of(
    st.sampled_from(["text/plain", "application/json", "application/x-www-form-urlencoded", "multipart/form-data"]),
    st.sampled_from(
        ["text/plain; charset=utf-16", 'text/plain; charset="', "text/plain; charset=\x7f", "a/b/c;;=", ""]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
header_values = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60).map(str.strip)
headers = st.dictionaries(
    st.sampled_from(
        ["X-Request-ID", "traceparent", "X-Request-Timeout-Ms", "Accept", "Expect", "Range", "Cookie", "Host", "Origin"]
    ),
    st.one_of(header_values, st.sampled_from(["0", "-1", "1e9", "9" * 30, "100-continue", "bytes=0-,-1"])),
    max_size=3,
)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "BREW"])
queries = st.one_of(
    texts.map(lambda text: "texto=" + quote_from_bytes(text.encode("utf-8", "surrogatepass"))),
    st.binary(max_size=100).map(lambda raw: "texto=" + quote_from_bytes(raw)),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60),
)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    # a folder that cannot be made: what fails to be captured fails no request
    with serving(LOG_REQUESTS="false", CAPTURE_DIR="/dev/null/captures") as running:
        yield running


@given(
    method=methods, path=paths, query=st.none() | queries, body=st.none() | bodies, kind=st.none() | kinds, more=headers
)
@settings(max_examples=REQUESTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_no_request_makes_it_fail(
    service: Service,
    method: str,
    path: str,
    query: str | None,
    body: bytes | None,
    kind: str | None,
    more: dict[str, str],
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    try:
        connection.putrequest(method, path if query is None else f"{path}?{query}", skip_host="Host" in more)
        for name, value in more.items():
            connection.putheader(name, value.encode("latin-1"))
        if kind is not None:
            connection.putheader("Content-Type", kind.encode("latin-1"))
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    assert answer.status < 500 or (answer.status == 503 and answer.getheader("Retry-After"))
    if answer.status >= 400 and answer.getheader("content-length") != "0" and method != "HEAD":
        assert answer.getheader("content-type") == "application/problem+json"


@given(
    raw=st.binary(min_size=1, max_size=200), start=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"POST /api/v2/modelo"])
)
@settings(max_examples=max(20, REQUESTS // 10), deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_what_is_not_even_http_does_no_harm(service: Service, raw: bytes, start: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(start + raw)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while piece := client.recv(4096):
                answer += piece
        except ConnectionResetError:
            pass
    assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5"))


def raw(service: Service, request: bytes, *, ends: bool = False) -> bytes:
    """What comes back; ``ends``: nothing more follows."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(request)
        if ends:
            client.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        return f"{answer.status} {answer.getheader('connection')} ".encode() + answer.read()


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("bañera".encode(), "200 None fontanería"),
        ("el enchufe echa chispas, 5€".encode(), "200 None electricidad"),
        ("🛁bañera".encode(), "200 None fontanería"),
        ("bañera".encode("latin-1"), "400 close "),
        (b"\xff\xfe", "400 close "),
    ],
)
def test_a_query_need_not_be_escaped_but_must_be_utf8(service: Service, query: bytes, answer: str) -> None:
    request = b"GET /api/v1/modelo?texto=" + query.replace(b" ", b"+") + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    assert raw(service, request).decode() == answer


@given(query=st.binary(min_size=1, max_size=60))
@settings(max_examples=max(20, REQUESTS // 10), deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_no_bytes_of_a_query_do_harm(service: Service, query: bytes) -> None:
    request = b"GET /api/v1/modelo?texto=" + query + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    assert not raw(service, request).startswith(b"5")


CHUNKED = b"POST /api/v2/modelo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"5\r\ngrifo\r\n0\r\n\r\n", b"200 None"),
        (b"5\r\ngrifo\r\n1\r\ns\r\n0\r\n\r\n", b"200 None"),
        (b"5\r\ngrifo\r\nzz\r\n", b"400 close"),
        (b"5\r\ngrifoXX0\r\n\r\n", b"400 close"),
        (b"5\r\ngrifo\r\n", b"400 close"),
        (b"5\r\ngri", b"400 close"),
    ],
)
def test_a_body_in_chunks_is_taken_whole_or_not_at_all(service: Service, body: bytes, code: bytes) -> None:
    assert raw(service, CHUNKED + body, ends=code != b"200 None").startswith(code)


@pytest.mark.parametrize(("path", "code"), [("/api/v1/status", b"405"), ("/api/v2/modelo", b"413")])
def test_who_sends_a_large_body_that_nobody_reads_is_told_that_the_connection_ends(
    service: Service, path: str, code: bytes
) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".encode()
    assert raw(service, head).startswith(code + b" close")


def test_after_all_of_them_the_first_worker_still_serves(service: Service) -> None:
    assert service.classify().text == "fontanería"
    assert service.metric("servicio_worker_starts_total") == 1
    assert (service.probe("live"), service.probe("ready")) == (200, 200)
    assert not [line for line in service.lines() if line["level"] in ("ERROR", "CRITICAL")]
