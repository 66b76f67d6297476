"""Probes: /livez (the process answers) and /readyz (it has a model)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from service.errors import Problem
from service.responses import CacheState, CanaryState, EventsState, Health, Readiness
from service.roster import Roster
from service.routes.state import problems, serving

__all__ = ["router"]

router = APIRouter(tags=["operation"])

ALIVE = Health(status="ok").model_dump_json().encode()
RESPONSE_SECONDS = 2.0  # for what may be ahead in the worker thread


@router.head("/livez", include_in_schema=False)
@router.get("/livez", response_model=Health)
async def livez() -> Response:
    """The process is up and its event loop turns."""
    return Response(ALIVE, media_type="application/json")


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses=problems({503: "No model is loaded, or inference does not get on."}))
async def readyz(roster: Annotated[Roster, Depends(serving)]) -> Readiness:
    """The model is loaded, has passed its probe and answers. A cache out of reach does not make the service unready."""
    canary = roster.canary
    with (current := roster.current).used():
        answers = current.answers
        if not await answers.worker.responds(RESPONSE_SECONDS):
            raise Problem(503, "worker_unresponsive", "Inference does not get on.")
        await answers.cache.check()  # so that the state below is of now, also without other requests
        await answers.live.catch_up()
        return Readiness(
            status="ready",
            model_version=current.version,
            canary=None if canary is None else CanaryState(version=canary.serving.version, share=canary.share),
            cache=CacheState(backend=answers.cache.backend, state="degraded" if answers.cache.degraded else "ok"),
            events=EventsState(backend=answers.live.backend, state="degraded" if answers.live.degraded else "ok"),
        )
