"""OpenTelemetry: a span for every request, sent where the settings say."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from starlette.types import Scope

__all__ = ["Tracing"]

SERVER_ERROR = 500


class Tracing:
    """Makes spans and sends them from a thread of its own, in batches.

    A span has the request's method, route, status and id, and what took how long; neither bodies nor ids of users. It
    belongs to the trace that the client names in its `traceparent`.

    Args:
        endpoint: base URL of an OTLP receiver over HTTP, such as http://collector:4318.
    """

    def __init__(self, endpoint: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({"service.name": "hdrm"}))
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hdrm")

    @contextmanager
    def span(self, scope: Scope) -> Iterator[None]:
        """Around one request; the scope's state has `method`, `route` and `status` when it ends."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._tracer.start_as_current_span(
            "request", propagate.extract(carrier), SpanKind.SERVER, record_exception=False
        ) as span:
            try:
                yield
            finally:
                state = scope["state"]
                span.update_name(f"{state['method']} {state['route']}")
                span.set_attribute("http.request.method", state["method"])
                span.set_attribute("http.route", state["route"])
                span.set_attribute("http.response.status_code", state["status"])
                span.set_attribute("hdrm.request_id", state["request_id"])
                if "phases" in state:
                    span.set_attribute("hdrm.phases", state["phases"].decode())
                if state["status"] >= SERVER_ERROR:
                    span.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()
