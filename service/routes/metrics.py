"""GET /metrics, for Prometheus."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from service.telemetry import Telemetry

__all__ = ["router"]

router = APIRouter(tags=["operation"])


# not async: with several workers it reads files, so it runs in a thread
@router.get("/metrics", response_class=PlainTextResponse)
def metrics(request: Request) -> Response:
    """All metrics in Prometheus' text format, of all worker processes together."""
    telemetry: Telemetry = request.app.state.telemetry
    return Response(telemetry.render(), media_type=CONTENT_TYPE_LATEST)
