from __future__ import annotations

import socket

import pytest
from servicio.board import Board
from servicio.settings import Settings

from tests.conftest import free_port


def test_a_proxy_closes_an_idle_connection_before_the_service_does() -> None:
    from servicio.server import HEADER_TIMEOUT

    assert HEADER_TIMEOUT > 60_000, "nginx, HAProxy's and the clouds' balancers: 60 s"


def test_answers_do_not_wait_for_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option, one answer in five on a connection that is kept took 40 ms longer."""
    from servicio.server import Server

    monkeypatch.setenv("SERVICIO_HOST", "127.0.0.1")
    monkeypatch.setenv("PORT", str(free_port()))
    server = Server(Settings.from_environment(), Board(1))
    server._init_shared_socket()
    port = server._sso
    assert isinstance(port, socket.socket)
    with port, socket.create_connection(port.getsockname()), port.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
