"""Traces by OTLP over HTTP (opentelemetry.io/docs/specs/otlp). Imported only where an endpoint is set.

    client's traceparent --> POST /v1/jobs --> attempt --> fetch, load, submit, follow, check, encode, upload, complete
                             gateway_traces    worker_traces                   '--> engine.queued, .encode, .denoise ...

A context crosses from one process to the next as a W3C `traceparent` on the job (w3.org/TR/trace-context).
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import __version__

TRACES_PATH = "/v1/traces"
EXPORT_S = 5.0  # for one request to the collector: it must not hold up a process that stops
NANOSECONDS = 1_000_000_000

Attributes = Mapping[str, str | int | float]


class Tracing:
    """Makes spans and sends them to the collector at `endpoint`, from a thread of its own.

    `kind` is gateway, worker or forwarder; `process` names this one of them.
    """

    def __init__(self, endpoint: str, kind: str, process: str) -> None:
        said = {"service.name": f"darkroom-{kind}", "service.version": __version__, "service.instance.id": process}
        self._provider = TracerProvider(resource=Resource.create(said), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}{TRACES_PATH}", timeout=EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("darkroom", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(
        self, name: str, parent: str | Span, attributes: Attributes, *, at: float | None = None, is_server: bool = False
    ) -> Span:
        """A span below `parent`: a span, or a traceparent ("": a trace of its own). `at`: seconds since the epoch."""
        return self._tracer.start_span(
            name,
            context=self._context(parent),
            kind=SpanKind.SERVER if is_server else SpanKind.INTERNAL,
            attributes=attributes,
            start_time=None if at is None else int(at * NANOSECONDS),
        )

    def between(self, name: str, parent: Span, began_at: float, ended_at: float, attributes: Attributes) -> None:
        """A span of what is over already; times are seconds since the epoch."""
        self.begin(name, parent, attributes, at=began_at).end(int(max(began_at, ended_at) * NANOSECONDS))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _context(self, parent: str | Span) -> Context:
        if isinstance(parent, Span):
            return set_span_in_context(parent, Context())
        return self._propagator.extract({"traceparent": parent}, Context())


def traceparent_of(span: Span) -> str:
    """The span as whoever works on its behalf is told of it."""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def trace_id_of(span: Span) -> str:
    """Of the trace that the span is in."""
    return f"{span.get_span_context().trace_id:032x}"


def fail(span: Span, code: str) -> None:
    """It went wrong; `code` is the error's."""
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, code))
