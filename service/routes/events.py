"""POST /v1/events."""

from typing import Annotated

from fastapi import APIRouter, Depends

from service.bodies import JsonRoute
from service.errors import Problem
from service.events.recorder import Recorder
from service.events.schemas import EventBatch, EventsResponse, SentEvents
from service.routes.state import CLOSED, problems, recording

__all__ = ["router"]

router = APIRouter(tags=["events"], route_class=JsonRoute)

ERRORS = problems(
    {
        **CLOSED,
        408: "The body took too long to arrive.",
        409: "The user was deleted after the time of the event (`user_deleted`).",
        413: "The body is too long.",
        422: "An event is not valid, or the body is neither an event nor a batch; `errors` names the field. "
        "Of a batch the valid events are accepted, and the others told in the answer.",
        503: "Events cannot be kept now, and none of these was; see `Retry-After`.",
    }
)


@router.post(
    "/v1/events", status_code=202, responses=ERRORS, operation_id="events_v1", response_model_exclude_none=True
)
async def events(sent: SentEvents, recorder: Annotated[Recorder, Depends(recording)]) -> EventsResponse:
    """Keep what users do. What is accepted survives a crash, and the next answer knows of it, without retraining."""
    if isinstance(sent, EventBatch):
        return await recorder.record(sent.events)
    response = await recorder.record([sent.model_dump()])
    if response.rejected:
        [why] = response.errors
        if why.code == "user_deleted":
            raise Problem(409, why.code, "The user was deleted after this event.", errors=why.errors)
        names = ", ".join(error.field for error in why.errors)
        raise Problem(422, why.code, f"Not valid: {names}.", errors=why.errors)
    return response
