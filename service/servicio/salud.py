"""The image's health check: alive, and the model answers as it should; exit code 0 when so.

``python3 -m servicio.salud``
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from urllib.parse import quote

TEXT, LABEL = "bañera", "fontanería"
TIMEOUT = 2.0


def main() -> int:
    """Ask the service on this machine, for at most 2 s in all; 0 when it is healthy, else 1."""
    ports = int(os.environ.get("SERVICIO_ADMIN_PORT", "9090")), int(os.environ.get("PORT", "8080"))
    end = time.monotonic() + TIMEOUT
    try:
        alive, _, _ = _get(ports[0], "/live", end)
        code, answer, busy = _get(ports[1], f"/api/v1/modelo?texto={quote(TEXT)}", end)
    except (OSError, http.client.HTTPException):
        return 1
    # a full queue is no illness: what is refused then is told when to come back
    return 0 if alive == http.HTTPStatus.OK and (answer == LABEL or (code == 503 and busy)) else 1


def _get(port: int, path: str, end: float) -> tuple[int, str, bool]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=max(0.01, end - time.monotonic()))
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.getheader("Retry-After") is not None
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
