"""The service beside a ten-line Flask application, MLServer and BentoML: the same model, machine, core and load.

    python3 benchmarks/service/run.py            # all of it: about 15 minutes, with what it installs 25
    python3 benchmarks/service/run.py --only overload

A server gets core 0 for itself, the load generator (oha) core 1. Environments are kept in
``~/.cache/pipeline-tools/benchmarks``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REQUIREMENTS = ROOT / "service/requirements.txt"
CACHE = Path(os.environ.get("PIPELINE_TOOLS_CACHE", "~/.cache/pipeline-tools")).expanduser() / "benchmarks"
SERVERS = HERE / "servers"
SERVER_CORE, LOAD_CORE = "0", "1"
CLAIM = "se ha roto una tubería del baño y el agua cae al piso"  # twelve words
THREADS = 16  # one for each connection: with fewer the ten lines need more processor time
OHA = "1.16.0"
# The first second of a load is not counted: it opens the connections, and the service learns that it has too much.
LEAD = 1.0
# So many answers are awaited at a time, each on a connection of its own. A request for which there is none left counts
# from when it should have been sent, so that a slow server does not make its own load less.
CONNECTIONS = 200
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
ANSWERS = "answers.db"


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a server is started, and asked. ``{port}`` and ``{admin}`` stand for the ports."""

    name: str
    environment: str
    argv: tuple[str, ...]
    path: str
    ready: str
    body: bytes = CLAIM.encode()
    kind: str = "text/plain; charset=utf-8"
    folder: Path = SERVERS
    variables: Mapping[str, str] = field(default_factory=dict)


OURS = {
    "PORT": "{port}",
    "SERVICIO_ADMIN_PORT": "{admin}",
    "SERVICIO_HOST": "127.0.0.1",
    "PYTHONPATH": str(ROOT / "service"),
}
V2 = {"path": "/api/v2/modelo", "ready": "/api/v1/status"}
PLAIN = {"path": "/api/v2/modelo", "ready": "/"}
ML = {
    "environment": "mlserver",
    "argv": ("mlserver", "start", "."),
    "path": "/v2/models/modelo/infer",
    "ready": "/v2/models/modelo/ready",
    "kind": "application/json",
    "folder": SERVERS / "mlserver",
    "body": json.dumps({"inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "data": [CLAIM]}]}).encode(),
}
ML_PORTS = {"MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{admin}", "MLSERVER_METRICS_PORT": "{other}"}
GRANIAN = ("granian", "--interface", "wsgi", "--http", "1", "--port", "{port}", "--blocking-threads", str(THREADS))
GTHREAD = ("gunicorn", "--worker-class", "gthread", "--threads", str(THREADS), "--bind", "127.0.0.1:{port}")
WAITRESS = ("waitress-serve", "--listen", "127.0.0.1:{port}", "--threads", str(THREADS))

MEASURED = (
    Server(name="service", environment="service", argv=("python", "-m", "servicio"), variables=OURS, **V2),
    Server(
        name="service, no request log",
        environment="service",
        argv=("python", "-m", "servicio"),
        variables={**OURS, "SERVICIO_LOG_REQUESTS": "false"},
        **V2,
    ),
    Server(name="ten lines of Flask", environment="service", argv=(*GRANIAN, "ten_lines:app"), **PLAIN),
    Server(
        name="MLServer, in-process",
        variables={**ML_PORTS, "MLSERVER_PARALLEL_WORKERS": "0"},
        **ML,  # type: ignore[arg-type]
    ),
    Server(name="MLServer, its worker", variables={**ML_PORTS, "MLSERVER_PARALLEL_WORKERS": "1"}, **ML),  # type: ignore[arg-type]
    Server(
        name="BentoML",
        environment="bentoml",
        argv=("bentoml", "serve", "bento:Modelo", "--host", "127.0.0.1", "--port", "{port}"),
        path="/modelo",
        ready="/readyz",
        body=json.dumps({"texto": CLAIM}).encode(),
        kind="application/json",
        variables={"BENTOML_DO_NOT_TRACK": "True"},
    ),
)
# The choice of the server: the ten lines under each.
CHOICE = (
    Server(name="granian", environment="service", argv=(*GRANIAN, "ten_lines:app"), **PLAIN),
    Server(name="gunicorn gthread", environment="service", argv=(*GTHREAD, "ten_lines:app"), **PLAIN),
    Server(name="waitress", environment="service", argv=(*WAITRESS, "ten_lines:app"), **PLAIN),
)
NOTHING = Server(
    name="nothing",
    environment="service",
    argv=("granian", "--interface", "rsgi", "--http", "1", "--port", "{port}", "--loop", "uvloop", "nothing:app"),
    **PLAIN,
)


@dataclass(kw_only=True)
class Figures:
    """What was measured of a server, a value a round."""

    cpu_us: dict[int, list[float]] = field(default_factory=dict)
    rate: dict[int, list[float]] = field(default_factory=dict)
    p99_ms: dict[int, list[float]] = field(default_factory=dict)
    rss_mb: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Oha at work in ``folder``: it leaves there each answer in a database, and says at its end what had none."""

    process: subprocess.Popen[str]
    folder: tempfile.TemporaryDirectory[str]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server that runs."""

    server: Server
    port: int
    admin: int
    process: int
    start_s: float

    def cpu(self) -> float:
        """Processor time of all its processes so far, in seconds."""
        return sum(sum(map(int, stat[11:13])) for stat in self._processes()) / TICKS

    def rss(self) -> list[float]:
        """Resident memory of each process, in MB."""
        return sorted((int(stat[21]) * PAGE / 1e6 for stat in self._processes()), reverse=True)

    def _processes(self) -> Iterator[list[str]]:
        """Fields of `/proc/PID/stat`, from the state on, of the server and all that descend from it."""
        stats = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                stats[int(folder.name)] = (folder / "stat").read_text().rpartition(")")[2].split()
        family = {self.process}
        while grown := {pid for pid, stat in stats.items() if int(stat[1]) in family} - family:
            family |= grown
        yield from (stats[pid] for pid in family if pid in stats)

    def attack(
        self, connections: int, seconds: float, *, rate: float = 0, path: str | None = None, port: int | None = None
    ) -> Attack:
        """Start oha against it: so many requests a second, or as many as come back.

        What asks another port is there to measure, and goes before what makes the load.
        """
        server = self.server
        folder = tempfile.TemporaryDirectory()
        argv = ["chrt", "--rr", "1"] if port and os.geteuid() == 0 else []
        argv += ["taskset", "-c", LOAD_CORE, str(CACHE / "bin/oha"), "--no-tui", "--worker-threads", "1", "-t", "10s"]
        argv += ["--output-format", "json", "--db-url", str(Path(folder.name, ANSWERS)), "-c", str(connections)]
        argv += ["-w", "-z", f"{seconds * 1000:.0f}ms"]
        if rate:
            argv += ["-q", f"{rate:.0f}", "--latency-correction"]
        if path is None:
            body = Path(folder.name, "body")
            body.write_bytes(server.body)
            argv += ["-m", "POST", "-T", server.kind, "-D", str(body)]
        argv += [f"http://127.0.0.1:{port or self.port}{path or server.path}"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return Attack(process=process, folder=folder)


def as_nice(process: int | str) -> None:
    """Give the session of ``process`` our niceness: a scheduler that groups by session heeds no other."""
    group = Path(f"/proc/{process}/autogroup")
    with contextlib.suppress(OSError):
        group.write_text(str(os.nice(0)))


def ports(count: int) -> list[int]:
    """Free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(server: Server, **variables: str) -> Iterator[Running]:
    """The server, ready."""
    named = dict(zip(("port", "admin", "other"), map(str, ports(3)), strict=True))
    folder = environment(server.environment) / "bin"
    argv = [word.format(**named) for word in server.argv]
    more = {name: value.format(**named) for name, value in {**server.variables, **variables}.items()}
    more |= {"PATH": f"{folder}:{os.environ['PATH']}"}
    begun = time.monotonic()
    with (CACHE / "server.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CORE, *argv],
            cwd=server.folder,
            env={**os.environ, **more},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    as_nice(process.pid)
    try:
        while not answers(f"http://127.0.0.1:{named['port']}{server.ready}"):
            if process.poll() is not None or time.monotonic() - begun > 60:
                sys.exit(f"{server.name} did not start: {CACHE / 'server.log'}")
            time.sleep(0.01)
        yield Running(
            server=server,
            port=int(named["port"]),
            admin=int(named["admin"]),
            process=process.pid,
            start_s=time.monotonic() - begun,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether anything comes back that is no failure of the server."""
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def environment(name: str) -> Path:
    """The virtual environment of ``name``, made once for its requirements."""
    wheel = model_wheel()
    files = [HERE / f"{name}.txt", *([pinned(wheel)] if name == "service" else [])]
    key = hashlib.sha256(b"".join(file.read_bytes() for file in [*files, wheel])).hexdigest()[:12]
    home = CACHE / f"{name}-{key}"
    if not (home / ".complete").exists():
        print(f"making the environment of {name}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        pip = [home / "bin/pip", "install", "--quiet", "--find-links", wheel.parent]
        for file in reversed(files):  # each alone: pip wants a hash for all that goes with those that have one
            subprocess.run([*pip, "--requirement", file], check=True)
        subprocess.run([*pip, wheel], check=True)
        (home / ".complete").touch()
    return home


def model_wheel() -> Path:
    """The model's wheel, made once for its sources."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "model", "data"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    sources = [ROOT / name for name in listed.stdout.split("\0") if name]
    folder = CACHE / f"wheel-{hashlib.sha256(b''.join(file.read_bytes() for file in sources)).hexdigest()[:12]}"
    if not list(folder.glob("*.whl")):
        version = re.search(r"^clasificador-modelo==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)
        assert version
        subprocess.run([ROOT / "model/ejecutar.sh", "--export", "--version", version[1], "--out", folder], check=True)
    return next(folder.glob("*.whl"))


def pinned(wheel: Path) -> Path:
    """The service's requirements with the hash of ``wheel``, which a checkout's do not have."""
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    text = re.sub(r"^clasificador-modelo==\S+", rf"\g<0> --hash=sha256:{sha256}", REQUIREMENTS.read_text(), flags=re.M)
    file = wheel.parent / "requirements.txt"
    file.write_text(text)
    return file


def load_generator() -> None:
    """Build oha, once."""
    wanted = [str(CACHE / "bin/oha"), "--version"]
    with contextlib.suppress(OSError):
        if subprocess.run(wanted, capture_output=True, text=True, check=True).stdout.split()[-1] == OHA:
            return
    print("building oha: about 4 min", file=sys.stderr)
    cargo = ["cargo", "install", "--quiet", "--locked", "--force", "--root", CACHE, f"oha@{OHA}"]
    subprocess.run(cargo, check=True)


Results = list[tuple[int, float]]


def report(attack: Attack, begun: float = 0) -> Results:
    """Code and latency, in ms, of each request that was sent more than ``begun`` seconds after the first.

    A request that has no answer at all has the code 0.
    """
    with attack.folder as folder:
        told, wrong = attack.process.communicate()
        if attack.process.returncode:
            sys.exit(f"oha: {wrong}")
        with contextlib.closing(sqlite3.connect(Path(folder, ANSWERS))) as answers:
            # by the corrected start: a request counts from when it should have been sent
            rows = answers.execute(
                "select status, (end - coalesce(start_latency_correction, start)) * 1000 from oha"
                " where coalesce(start_latency_correction, start) >= ?",
                (begun,),
            ).fetchall()
    failed = json.loads(told)["errorDistribution"]
    return rows + [(0, 0.0)] * sum(failed.values())


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def good(results: Results) -> list[float]:
    """Latencies of the answers with code 200, in ms."""
    return [latency for code, latency in results if code == 200]


def closed(server: Running, connections: int, seconds: float, into: Figures) -> None:
    """As many requests as come back, over so many connections."""
    before = server.cpu()
    results = report(server.attack(connections, seconds))
    used = server.cpu() - before
    fine = good(results)
    if len(fine) < len(results):
        codes = dict(Counter(code for code, _ in results if code != 200))
        print(f"{server.server.name}, {connections} connections: of {len(results)} failed {codes}", file=sys.stderr)
    into.cpu_us.setdefault(connections, []).append(used / len(fine) * 1e6)
    into.rate.setdefault(connections, []).append(len(fine) / seconds)
    into.p99_ms.setdefault(connections, []).append(percentile(fine, 0.99))


def warm_up(server: Running) -> None:
    """Two seconds of load, again until nothing fails: MLServer says that it is ready before its worker is."""
    for _ in range(5):
        results = report(server.attack(4, 2))
        if len(good(results)) == len(results):
            return


def compare(servers: tuple[Server, ...], rounds: int, seconds: float) -> dict[str, Figures]:
    """Measure the servers in turns; an answer at 16 connections that is refused counts as a failure."""
    found = {server.name: Figures() for server in servers}
    for _ in range(rounds):
        for server in servers:
            figures = found[server.name]
            # 16 connections are no overload
            with running(server) as one:
                warm_up(one)
                for connections in (1, 16):
                    closed(one, connections, seconds, figures)
                figures.rss_mb.append(sum(one.rss()))
                figures.start_s.append(one.start_s)
    return found


def table(found: dict[str, Figures], base: str) -> None:
    """Print medians, and how many times the base each server's processor time is."""
    print(
        "| server | CPU µs a request, 1 / 16 | × base, 1 / 16 | requests/s, 1 / 16 | p99 ms at 16 | MB, all | start s |"
    )
    print("|---|---|---|---|---|---|---|")
    median: Callable[[list[float]], float] = statistics.median
    for name, one in found.items():
        cpu = {count: median(values) for count, values in one.cpu_us.items()}
        times = [cpu[count] / median(found[base].cpu_us[count]) for count in (1, 16)]
        print(
            f"| {name} | {cpu[1]:.0f} / {cpu[16]:.0f} | {times[0]:.2f} / {times[1]:.2f} "
            f"| {median(one.rate[1]):.0f} / {median(one.rate[16]):.0f} | {median(one.p99_ms[16]):.1f} "
            f"| {median(one.rss_mb):.0f} | {median(one.start_s):.2f} |"
        )


def overload(seconds: float, words: int) -> None:
    """Twice what the service can sustain, at a constant arrival rate: what is answered, how soon, and how alive it is.

    The load that it sustains is the highest of an ascending series at which at most one request in a hundred is refused
    and the p99 stays below 5 times the calm one. The most is the best goodput that was seen at any rate, or with 16
    connections that ask as fast as they are answered.
    """
    claim = " ".join((CLAIM.split() * words)[:words])
    with running(replace(MEASURED[0], body=claim.encode())) as one:
        figures = Figures()
        warm_up(one)
        answers(f"http://127.0.0.1:{one.admin}/live")  # no pod has its first probe under load
        closed(one, 16, seconds, figures)
        closed_rate = most = figures.rate[16][0]
        calm_p99 = percentile(good(offered(one, closed_rate * 0.2, seconds)), 0.99)
        sustained = closed_rate * 0.2
        print(f"claims of {words} words: {closed_rate:.0f} requests/s with 16 connections, calm p99 {calm_p99:.1f} ms")
        print("| asked/s | offered/s | goodput/s | refused | p99 ms |\n|---|---|---|---|---|")

        def row(rate: float, results: Results) -> tuple[float, float, float]:
            fine = good(results)
            goodput, refused, p99 = len(fine) / seconds, 1 - len(fine) / len(results), percentile(fine, 0.99)
            print(f"| {rate:.0f} | {len(results) / seconds:.0f} | {goodput:.0f} | {refused:.1%} | {p99:.1f} |")
            return goodput, refused, p99

        for share in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
            goodput, refused, p99 = row(closed_rate * share, offered(one, closed_rate * share, seconds))
            most = max(most, goodput)
            if refused <= 0.01 and p99 < 5 * calm_p99:
                sustained = closed_rate * share
        before = one.cpu()
        watch = one.attack(4, seconds + LEAD, rate=50, path="/live", port=one.admin)
        results = offered(one, sustained * 2, seconds)
        alive = report(watch)
        used = one.cpu() - before
        goodput, _, p99 = row(sustained * 2, results)
    with running(NOTHING) as one:
        warm_up(one)
        alone = percentile(good(offered(one, sustained * 2, seconds)), 0.99)
    most = max(most, goodput)
    codes = dict(Counter(code for code, _ in results))
    live = [latency for _, latency in alive]
    print(f"sustained              {sustained:8.0f} requests/s; the most {most:.0f}")
    print(f"offered, twice that    {len(results) / seconds:8.0f} requests/s; answers by code {codes}")
    print(f"goodput                {goodput:8.0f} requests/s = {goodput / most:.0%} of the most")
    print(f"p99 calm, overloaded   {calm_p99:8.1f} ms, {p99:.1f} ms = {p99 / calm_p99:.1f} ×")
    print(f"  of a server that does nothing, at that rate {alone:.1f} ms: the load generator's own")
    print(f"liveness, slowest      {max(live):8.1f} ms of {len(live)}, {len(good(alive))} with 200")
    print(f"processor              {used / (seconds + LEAD):8.0%} of the server's core")


def offered(server: Running, rate: float, seconds: float) -> Results:
    """Requests at a constant rate, whatever becomes of those before; those of the first ``LEAD`` are left out."""
    return report(server.attack(CONNECTIONS, seconds + LEAD, rate=rate), LEAD)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("peers", "choice", "overload"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--words", type=int, action="append", help="length of the claims of an overload")
    words = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    as_nice("self")
    load_generator()
    if words.only in (None, "peers"):
        table(compare(MEASURED, words.rounds, words.seconds), "ten lines of Flask")
    if words.only in (None, "choice"):
        table(compare(CHOICE, words.rounds, words.seconds), "granian")
    if words.only in (None, "overload"):
        for length in words.words or (12, 120, 1200):
            overload(words.seconds, length)


if __name__ == "__main__":
    main()
