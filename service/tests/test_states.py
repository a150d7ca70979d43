"""The real server as a real process: every state that it can get into, what the probes say, and who is served.

The same states are measured in docs/service-states.md.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from pathlib import Path

import pytest
from servicio import salud

from tests.conftest import SERVICE, Service, ask, eventually, serving

ALIVE_AND_READY = (200, 200)


def probes(service: Service) -> tuple[int, int]:
    """Liveness and readiness."""
    return service.probe("live"), service.probe("ready")


def recovered(service: Service, worker: int) -> float:
    """Wait until another worker serves; how long it took, in seconds."""
    return eventually(
        lambda: service.worker() != worker and probes(service) == ALIVE_AND_READY and service.classify().code == 200,
        "another worker serves",
    )


def test_it_serves_is_healthy_and_ends_well(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.get("/api/v1/status").text == "OK"
    assert service.probe("startup") == 200
    assert probes(service) == ALIVE_AND_READY
    monkeypatch.setenv("PORT", str(service.port))
    monkeypatch.setenv("SERVICIO_ADMIN_PORT", str(service.admin))
    assert salud.main() == 0
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0
    assert salud.main() == 1, "nobody answers any more"


def test_what_happened_is_in_the_metrics(service: Service) -> None:
    assert service.classify("bañera").code == 200
    assert service.get("/nowhere").code == 404
    counted = 'servicio_request_seconds_count{code="404",method="GET",route="otro"}'
    eventually(lambda: service.metric(counted) == 1, "counted")
    score = ask(service.port, "/api/v2/modelo", method="POST", body="bañera".encode()).json
    best = score["classification"]["tokens"][0]
    assert service.metric(f'servicio_predictions_total{{label="{best["token"]}",score="{best["score"]}"}}') >= 2
    assert 10e6 < service.metric('servicio_worker_resident_bytes{worker="0"}') < 120e6
    assert service.metric("servicio_worker_starts_total") == 1
    about = service.get("/nowhere").headers
    assert about["model-digest"].startswith("sha256:") and len(about["data-digest"]) == 64
    digests = f'data="{about["data-digest"]}",digest="{about["model-digest"]}"'
    labels = f'{digests},version="{about["model-version"]}",worker="0"'
    assert service.metric(f"servicio_model{{{labels}}}") == 1


def test_two_jobs_that_wait_for_one_another_end_their_worker_and_the_next_serves() -> None:
    with serving(faulty="texts", JOB_TIMEOUT="2") as service:
        worker = service.worker()
        stuck = [service.call("@cerrojo 0"), service.call("@cerrojo 1")]
        time.sleep(0.5)
        assert probes(service) == ALIVE_AND_READY, "within their deadline"
        waiting = service.call("grifo")
        eventually(lambda: service.probe("live") == 503, "not alive", 5)
        assert service.probe("ready") == 503
        assert "past its deadline" in service.why("live")
        recovered(service, worker)
        assert [call.code for call in stuck] == [0, 0]
        assert waiting.code == 503, "who only waited is told to come back"
        dump = service.log.read_text()
        assert "_deadlock" in dump and "this worker ends: a job is past its deadline" in dump


@pytest.mark.long
def test_a_long_job_within_its_deadline_is_left_alone_and_one_beyond_ends_its_worker() -> None:
    with serving(faulty="texts", JOB_TIMEOUT="2") as service:
        worker = service.worker()
        long = service.call("@largo 0.7")
        while long.is_alive():
            assert probes(service) == ALIVE_AND_READY
        assert long.code == 200
        beyond, short = service.call("@largo 30"), service.call("grifo")
        assert short.code == 200
        recovered(service, worker)
        assert beyond.code == 0


@pytest.mark.long
def test_other_jobs_are_finished_before_a_worker_ends() -> None:
    with serving(faulty="texts", JOB_TIMEOUT="2.5") as service:
        beyond = service.call("@largo 30")
        time.sleep(1)
        other = service.call("@largo 2")
        assert other.code == 200, "it began later and had its time"
        assert beyond.code == 0


@pytest.mark.long
def test_a_busy_loop_in_python_keeps_nobody_from_being_served() -> None:
    with serving(faulty="texts") as service:
        busy = service.call("@ocupado 1")
        for _ in range(5):
            assert service.classify().code == 200
            assert probes(service) == ALIVE_AND_READY
        assert busy.code == 200


def test_a_job_that_holds_the_interpreter_ends_its_worker_from_outside_python() -> None:
    with serving(faulty="texts", STUCK_TIMEOUT="1") as service:
        worker = service.worker()
        stuck = service.call("@gil")
        recovered(service, worker)
        assert stuck.code == 0
        assert "_faulty" in service.log.read_text(), "its stack is in the log"


@pytest.mark.long
def test_a_pool_that_waits_for_itself_ends_its_worker() -> None:
    with serving(faulty="texts", JOB_TIMEOUT="1") as service:
        worker = service.worker()
        stuck = service.call("@piscina")
        recovered(service, worker)
        assert stuck.code == 0


def test_a_model_that_has_begun_to_fail_ends_its_worker() -> None:
    with serving(faulty="texts", CANARY_INTERVAL="0.2") as service:
        worker = service.worker()
        assert service.call("@roto").code == 200
        recovered(service, worker)
        (said,) = (line["message"] for line in service.lines() if line["level"] == "CRITICAL")
        assert said == "this worker ends: the model cannot answer 'bañera': LookupError"


@pytest.mark.long
def test_a_worker_that_leaks_threads_is_replaced_and_nobody_is_lost() -> None:
    with serving(faulty="texts") as service:
        worker = service.worker()
        assert service.call("@fuga").code == 200
        recovered(service, worker)
        assert "leaks" in service.log.read_text()


def test_a_full_queue_is_refused_at_once_and_stays_alive_and_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(faulty="texts", RUNNING="1", WAITING="1", MAX_WAIT="5", STANDING_WAIT="5") as service:
        monkeypatch.setenv("PORT", str(service.port))
        monkeypatch.setenv("SERVICIO_ADMIN_PORT", str(service.admin))
        calls = [service.call("@largo 2")]
        eventually(lambda: service.metric('servicio_running{worker="0"}') == 1, "it runs")
        calls.append(service.call("grifo"))
        eventually(lambda: service.metric('servicio_waiting{worker="0"}') == 1, "the next one waits")
        refused = [service.classify() for _ in range(5)]
        assert probes(service) == ALIVE_AND_READY
        assert salud.main() == 0
        assert {answer.code for answer in refused} == {503}
        assert max(answer.seconds for answer in refused) < 0.3
        assert all(1 <= int(answer.headers["retry-after"]) <= 3 for answer in refused)
        assert refused[0].headers["content-type"] == "application/problem+json"
        assert service.get("/api/v1/status").code == 200, "what needs no model is answered"
        assert service.metric('servicio_oldest_wait_seconds{worker="0"}') > 0.1
        assert [call.code for call in calls] == [200, 200]
        eventually(lambda: service.metric('servicio_refused_total{reason="full"}') >= 5, "counted together")


@pytest.mark.long
def test_nobody_waits_longer_than_allowed_or_than_they_said() -> None:
    with serving(faulty="texts", RUNNING="1", MAX_WAIT="1", STANDING_WAIT="1") as service:
        long = service.call("@largo 4")
        eventually(lambda: service.metric('servicio_running{worker="0"}') == 1, "it runs")
        patient = service.classify()
        assert (patient.code, patient.seconds > 0.9) == (503, True)
        hurried = service.classify(X_Request_Timeout_Ms="50")
        assert (hurried.code, hurried.seconds < 0.9) == (503, True)
        assert service.classify(X_Request_Timeout_Ms="soon").code == 400
        assert long.code == 200


def slow_client(service: Service) -> socket.socket:
    """Says that it sends ten bytes, and sends three."""
    client = socket.create_connection(("127.0.0.1", service.port))
    client.sendall(b"POST /api/v2/modelo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    return client


def test_slow_clients_take_nobody_elses_place_and_are_cut_off() -> None:
    with serving(READING="3", READ_TIMEOUT="2") as service, contextlib.ExitStack() as slow:
        worker = service.worker()
        clients = [slow.enter_context(slow_client(service)) for _ in range(3)]
        time.sleep(0.3)
        assert ask(service.port, "/api/v2/modelo", method="POST", body=b"grifo").code == 503, "three are as many as may"
        assert service.classify().code == 200, "what has no body is served"
        assert probes(service) == ALIVE_AND_READY
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 408")
        assert ask(service.port, "/api/v2/modelo", method="POST", body=b"grifo").code == 200
        assert service.worker() == worker


def test_maintenance_is_alive_not_ready_and_visible(tmp_path: object) -> None:
    file = SERVICE.joinpath(str(tmp_path), "maintenance")
    with serving(MAINTENANCE_FILE=str(file)) as service:

        def maintained(on: bool) -> bool:
            wanted = (200, 503 if on else 200)
            told = service.get("/api/v1/status?format=json").json
            return (
                probes(service) == wanted
                and told["maintenance"] is on
                and service.metric("servicio_maintenance") == on
                and service.classify().code == 200
            )

        assert ask(service.admin, "/maintenance", method="PUT").json == {"maintenance": True}
        assert maintained(True)
        assert service.why("ready") == "maintenance"
        worker = service.worker()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: service.worker() != worker and maintained(True), "a new worker is in maintenance too")
        assert ask(service.admin, "/maintenance", method="DELETE").json == {"maintenance": False}
        assert maintained(False)
        for on, number in ((True, signal.SIGUSR1), (False, signal.SIGUSR2)):
            service.process.send_signal(number)
            eventually(lambda on=on: maintained(on), "by signal")  # type: ignore[misc]
        file.touch()
        assert maintained(True)
        file.unlink()
        assert maintained(False)


def test_sigterm_makes_it_unready_and_it_serves_on_and_finishes_what_is_in_flight() -> None:
    with serving(faulty="texts", DRAIN_TIME="0.7") as service:
        in_flight = service.call("@largo 1.6")
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        eventually(lambda: service.probe("ready") == 503, "not ready", 1)
        assert service.why("ready") == "draining"
        assert service.probe("live") == 200
        while time.monotonic() - begun < 0.5:
            answer = service.classify()
            assert (answer.code, answer.headers["connection"]) == (200, "close")
        assert in_flight.code == 200
        assert service.process.wait(10) == 0


def test_a_log_that_nobody_reads_costs_nothing_but_the_log() -> None:
    """A pipe takes 64 KB, and a line of the log has some 300 bytes."""
    resident, requests = 'servicio_worker_resident_bytes{worker="0"}', 6000
    counted = 'servicio_request_seconds_count{code="200",method="POST",route="/api/v2/modelo"}'
    body = b"grifo " * 1500
    head = f"POST /api/v2/modelo HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving(unread=True) as service:
        before = service.metric(resident)
        with socket.create_connection(("127.0.0.1", service.port), 10) as client, client.makefile("rb") as answers:
            for _ in range(requests // 50):
                client.sendall((head + body) * 50)
                codes = 0
                while codes < 50:
                    line = answers.readline()
                    assert line
                    codes += b"HTTP/1.1 200" in line
        eventually(lambda: service.metric(counted) == requests, "all are counted")
        assert service.metric("servicio_log_lines_dropped_total") > 1000
        assert service.metric(resident) < before + 20e6, "their bodies are 54 MB"
        assert probes(service) == ALIVE_AND_READY
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(10) == 0


@pytest.mark.long
def test_what_does_not_finish_is_ended_in_time() -> None:
    with serving(faulty="texts", DRAIN_TIME="0", STOP_TIMEOUT="1", JOB_TIMEOUT="60") as service:
        never = service.call("@largo 60")
        time.sleep(0.3)
        begun = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        service.process.wait(10)
        assert time.monotonic() - begun < 4
        assert never.code == 0


def test_a_killed_worker_is_replaced() -> None:
    with serving() as service:
        worker = service.worker()
        os.kill(worker, signal.SIGKILL)
        recovered(service, worker)


def test_a_new_worker_goes_on_counting_in_the_files_of_the_last() -> None:
    counted = 'servicio_request_seconds_count{code="404",method="GET",route="otro"}'
    with serving() as service:
        (folder,) = (Path(entry).parent for entry in opened(service.process.pid) if entry.endswith("_main.db"))
        assert service.get("/nowhere").code == 404
        eventually(lambda: service.metric(counted) == 1, "counted")
        before = sorted(folder.glob("*.db"))
        worker = service.worker()
        os.kill(worker, signal.SIGKILL)
        recovered(service, worker)
        assert service.get("/nowhere").code == 404
        eventually(lambda: service.metric(counted) == 2, "counted on")
        assert sorted(folder.glob("*.db")) == before
        service.process.kill()
        worker = service.worker()
        eventually(lambda: not Path(f"/proc/{worker}").exists(), "the worker is gone, too", 5)
        with serving():  # or another service that has begun since: each removes what nobody has any more
            assert not folder.exists()


def opened(pid: int) -> list[str]:
    """The files that a process has mapped."""
    return [line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]


@pytest.mark.long
def test_a_job_for_which_memory_does_not_suffice_fails_alone() -> None:
    with serving(faulty="texts", memory=2**31) as service:
        worker = service.worker()
        greedy = service.call("@memoria 4000")
        assert greedy.code == 500
        assert probes(service) == ALIVE_AND_READY
        assert (service.classify().code, service.worker()) == (200, worker)
        assert "MemoryError" in service.log.read_text()


@pytest.mark.long
def test_workers_that_lose_their_main_process_end() -> None:
    with serving() as service:
        worker = service.worker()
        service.process.kill()
        eventually(lambda: not os.path.exists(f"/proc/{worker}"), "the worker is gone", 5)  # noqa: PTH110


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("golden", "fails its golden predictions"),
        pytest.param("import", "ImportError: this wheel was built", marks=pytest.mark.long),
    ],
)
def test_a_wrong_wheel_is_alive_and_not_ready_and_says_why(fault: str, why: str) -> None:
    with serving(faulty=fault, ready=False) as service:
        eventually(lambda: service.probe("startup") == 200, "loaded")
        assert probes(service) == (200, 503)
        assert why in service.why("ready")
        assert service.get("/api/v1/status").text == "OK"
        answer = service.classify()
        assert answer.code == 503 and why in answer.json["detail"]
        assert "retry-after" not in answer.headers
        assert why in service.get("/api/v1/status?format=json").json["refused"]
        assert any(why in line["message"] for line in service.lines())


@pytest.mark.long
def test_two_workers_share_the_port_and_one_that_dies_does_not_make_it_unready() -> None:
    with serving(WORKERS="2") as service:
        eventually(lambda: service.probe("startup") == 200, "both have loaded")
        worker = service.worker()
        os.kill(worker, signal.SIGKILL)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert service.probe("ready") == 200
        eventually(lambda: service.worker() != worker, "another")
        assert service.metric("servicio_worker_starts_total") == 3


@pytest.mark.long
def test_idle_connections_keep_nobody_out() -> None:
    """Beyond a limit of its own, 1024 once, the server accepts nobody until an idle connection is closed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        # the service gets as many files as are usual, and has to ask for more itself
        with serving(files=1024) as service, contextlib.ExitStack() as idle:
            for _ in range(1100):
                idle.enter_context(socket.create_connection(("127.0.0.1", service.port)))
            answer = service.classify()
            assert (answer.code, answer.seconds < 1) == (200, True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
