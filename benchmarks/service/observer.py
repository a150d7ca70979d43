"""What a user of the Service and a prober of one pod see; runs in a pod beside them (`pods.py` mounts it there).

Its plan is JSON in PLAN: ``pod``, the address of the pod in which something goes wrong; ``service``; ``texts``, the
jobs that go wrong; ``slow``, how many clients never finish their body; ``before`` and ``after``, seconds around that
moment. It prints one line of JSON: ``zero`` (that moment, seconds since the epoch); ``probes``, ``users``, ``jobs``: of
each (seconds after zero, name, code or what broke, seconds that it took); ``starts``, how many workers the pod's
container has started, 0 when the pod is gone.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import urllib.request
from urllib.parse import quote

EVERY = 0.1
# Slow clients come one after the other: of many at one moment the door refuses those that find no place; seconds.
APART = 0.005
PATIENCE = 30.0
Seen = list[tuple[float, str, str, float]]


def ask(host: str, port: int, path: str, body: bytes | None = None, timeout: float = PATIENCE) -> str:
    """The code of an answer; `refused` when there was no connection, `lost` when it broke, `late` after the timeout."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.connect()
    except TimeoutError:
        return "late"
    except OSError:
        return "refused"
    try:
        connection.request("POST" if body else "GET", path, body=body)
        return str(connection.getresponse().status)
    except TimeoutError:
        return "late"
    except (OSError, http.client.HTTPException):
        return "lost"
    finally:
        connection.close()


def timed(into: Seen, name: str, *words: object, **options: object) -> None:
    """Ask, and write down when, what and how long."""
    begun = time.time()
    code = ask(*words, **options)  # type: ignore[arg-type]
    into.append((begun, name, code, time.time() - begun))


def thread(*words: object, **options: object) -> threading.Thread:
    """Ask in a thread."""
    started = threading.Thread(target=timed, args=words, kwargs=options, daemon=True)
    started.start()
    return started


def starts(pod: str) -> int:
    """How many workers the container has started."""
    try:
        with urllib.request.urlopen(f"http://{pod}:9090/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    return next(int(float(line.split()[1])) for line in lines if line.startswith("servicio_worker_starts_total "))


def main() -> None:
    """Watch, make it go wrong, watch on."""
    plan = json.loads(os.environ["PLAN"])
    pod, service = plan["pod"], plan["service"]
    probes: Seen = []
    users: Seen = []
    jobs: Seen = []
    asked: list[threading.Thread] = []
    begun = time.time()
    zero = begun + plan["before"]
    happened = False
    slow = []
    tick = 0
    while time.time() < zero + plan["after"]:
        if not happened and time.time() >= zero:
            happened = True
            zero = time.time()
            asked += [thread(jobs, "job", pod, 8080, "/api/v2/modelo", text.encode()) for text in plan["texts"]]
            for _ in range(plan["slow"]):
                client = socket.create_connection((pod, 8080))
                client.sendall(b"POST /api/v2/modelo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
                slow.append(client)
                time.sleep(APART)
        for name in ("live", "ready"):
            # as kubelet does: an answer that takes longer than this is none
            asked.append(thread(probes, name, pod, 9090, f"/{name}", timeout=2.0))
        # one user at each tick, whatever became of those before: an open model
        asked.append(thread(users, "user", service, 80, f"/api/v1/modelo?texto={quote('gotea el grifo')}"))
        tick += 1
        time.sleep(max(0.0, begun + tick * EVERY - time.time()))
    for one in asked:
        one.join(PATIENCE)
    found = {
        name: [(round(at - zero, 3), what, code, round(took, 3)) for at, what, code, took in sorted(seen)]
        for name, seen in (("probes", probes), ("users", users), ("jobs", jobs))
    }
    print(json.dumps({"zero": zero, "starts": starts(pod), **found}), flush=True)


if __name__ == "__main__":
    main()
