"""GET /metrics, for Prometheus."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from service.routes.state import CLOSED, problems
from service.telemetry import Telemetry

__all__ = ["router"]

router = APIRouter(tags=["operation"])

DENIED = {status: text for status, text in CLOSED.items() if status < 500}


# not async: with several workers it reads files, so it runs in a thread
@router.get("/metrics", response_class=PlainTextResponse, responses=problems(DENIED))
def metrics(request: Request) -> Response:
    """All metrics in Prometheus' text format, of all worker processes together."""
    telemetry: Telemetry = request.app.state.telemetry
    return Response(telemetry.render(), media_type=CONTENT_TYPE_LATEST)
