"""Traces and timings: what a collector and a client are told of a request."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.app import create_app
from service.settings import Settings, load_settings
from tests.service.conftest import converse


@pytest.fixture
def collector() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP receiver, and the spans it has received."""
    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.extend(
                span for resource in sent.resource_spans for scope in resource.scope_spans for span in scope.spans
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", spans
    server.shutdown()
    thread.join()
    server.server_close()


def test_every_request_is_a_span_of_the_clients_trace(
    settings: Settings, collector: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, spans = collector
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

    async def exchange(client: httpx.AsyncClient) -> None:
        headers = {"traceparent": f"00-{trace}-{parent}-01", "X-Request-ID": "r-1"}
        assert (await client.post("/recommend", json={"user_id": "swordfish"}, headers=headers)).status_code == 200
        assert (await client.get("/v1/users/swordfish")).status_code == 404

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    converse(create_app(load_settings(models=settings.models)), exchange)
    first, second = spans
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (trace, parent)
    attributes = {a.key: a.value.string_value or a.value.int_value for a in first.attributes}
    assert first.name == "POST /recommend"
    assert attributes["http.request.method"] == "POST"
    assert attributes["http.response.status_code"] == 200
    assert attributes["hdrm.request_id"] == "r-1"
    assert "model;dur=" in attributes["hdrm.phases"]
    assert second.name == "GET /v1/users/{user_id}"
    assert second.trace_id.hex() != trace
    assert "swordfish" not in str(spans)


def test_a_client_is_told_what_took_how_long(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        def phases(response: httpx.Response) -> dict[str, float]:
            parts = [part.split(";dur=") for part in response.headers["server-timing"].split(", ")]
            return {name: float(milliseconds) for name, milliseconds in parts}

        for path in ("/recommend", "/v1/recommend"):
            timing = phases(await client.post(path, json={"user_id": "100"}))
            assert list(timing) == ["lookup", "cache", "model", "total"]
            assert 0 <= sum(timing[name] for name in ("lookup", "cache", "model")) <= timing["total"]
        assert list(phases(await client.get("/nowhere"))) == ["total"]

    converse(create_app(settings), exchange)
