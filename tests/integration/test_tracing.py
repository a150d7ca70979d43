"""A run arrives as a trace at a collector that speaks OTLP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.steps_project import ENVIRONMENT, Project


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    monkeypatch.setitem(ENVIRONMENT, "TRACEPARENT", f"00-{'a' * 32}-{'b' * 16}-01")
    yield received
    server.shutdown()
    server.server_close()


def test_a_run_is_a_trace_with_a_span_for_each_step(tmp_path: Path, collector: list[ExportTraceServiceRequest]) -> None:
    project = Project(tmp_path)
    project.does("right", "from pipeline_tools.errors import *\nraise QualityError('right is wrong')")
    assert project.run()[0] == 3
    assert collector == [], "off unless it is asked for"
    assert project.run("run", "--force", "--set", "run.traces=true")[0] == 3
    spans = {
        span.name: span
        for request in collector
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }
    assert set(spans) == {"run sample", "first", "left", "right"}
    whole = spans["run sample"]
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == ("a" * 32, "b" * 16)
    assert all(spans[name].parent_span_id == whole.span_id for name in ("first", "left", "right"))
    assert spans["right"].status.message == "right is wrong"
    assert spans["left"].end_time_unix_nano > spans["left"].start_time_unix_nano >= whole.start_time_unix_nano


def test_a_collector_that_does_not_answer_does_not_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert Project(tmp_path).run("run", "--set", "run.traces=true")[0] == 0
