"""A run as an OpenTelemetry trace: a span for the run, one below it for each step, sent when the run is over.

Off unless ``run.traces`` is set. Where to is said by the standard variables, ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its
like; ``TRACEPARENT`` makes the run a part of the trace of whoever started it (Jenkins' OpenTelemetry plugin sets it).
"""

from __future__ import annotations

import logging
import os
from datetime import datetime

from pipeline_tools.errors import ConfigError
from pipeline_tools.masking import mask
from pipeline_tools.run import RunRecord, StepRecord

NANOSECONDS = 10**9


def export(record: RunRecord) -> None:
    """Send the trace of a run that is over.

    Raises:
        ConfigError: the OpenTelemetry packages are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError as error:
        raise ConfigError(
            "run.traces is set, but the OpenTelemetry packages are not installed.",
            hint="pip install 'pipeline-tools[tracing]'",
        ) from error
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "pipeline-tools"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=5)))
    tracer = provider.get_tracer("pipeline_tools")
    parent = TraceContextTextMapPropagator().extract({"traceparent": os.environ.get("TRACEPARENT", "")})
    whole = tracer.start_span(
        f"run {record.project}",
        parent,
        kind=SpanKind.INTERNAL,
        start_time=_nanoseconds(record.started),
        attributes={
            "cicd.pipeline.name": record.project,
            "cicd.pipeline.run.id": record.id,
            "cicd.pipeline.result": "success" if record.exit_code == 0 else "failure",
            "vcs.ref.head.revision": record.commit,
            "vcs.ref.head.name": record.branch,
            "service.version": record.version,
        },
    )
    for step in record.steps:
        if not step.started:
            continue
        begun = _nanoseconds(step.started)
        span = tracer.start_span(step.id, set_span_in_context(whole), start_time=begun, attributes=_attributes(step))
        if step.status != "passed":
            span.set_status(Status(StatusCode.ERROR, mask(step.reason)))
        span.end(begun + int(step.seconds * NANOSECONDS))
    if record.exit_code:
        whole.set_status(Status(StatusCode.ERROR))
    whole.end(_nanoseconds(record.started) + int(record.seconds * NANOSECONDS))
    provider.shutdown()


def _attributes(step: StepRecord) -> dict[str, str | int]:
    return {
        "cicd.pipeline.task.name": step.id,
        "cicd.pipeline.task.run.result": "success" if step.status == "passed" else "failure",
        "pipeline_tools.attempts": step.attempts,
        "pipeline_tools.reason": mask(step.reason),
    }


def _nanoseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * NANOSECONDS)
