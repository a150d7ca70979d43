"""Ports for the servers that tests start."""

from __future__ import annotations

import random
import socket

# Below those that Linux gives to clients, any of whom might get it before our server listens.
RANGE = (28_000, 32_768)

_kept: list[socket.socket] = []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that no other test on this machine gets while this process lives.

    Who has the same port of 127.0.0.2, has it: a port that was only looked at would be free for somebody else too,
    until the server for it listens.
    """
    while True:
        port = random.randrange(*RANGE)
        keeper = socket.socket()
        try:
            keeper.bind(("127.0.0.2", port))
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            keeper.close()
        else:
            _kept.append(keeper)
            return port
