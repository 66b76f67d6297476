"""Events as they come in over HTTP, and what is said of them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, JsonValue, Tag, WithJsonSchema

from service.requests import Id
from service.responses import FieldProblem

__all__ = ["MOST_EVENTS", "EventBatch", "EventRequest", "EventsResponse", "RejectedEvent", "SentEvents"]

MOST_EVENTS = 1000  # in one request

EXAMPLE: dict[str, JsonValue] = {
    "event_id": "8f14e45f",
    "user_id": "196",
    "item_id": "50",
    "type": "view",
    "timestamp": "2026-01-31T18:00:00Z",
}


def _seconds(value: Any) -> Any:
    """Seconds since 1970 of an RFC 3339 time; what is none is left to the type's own check."""
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("not a time such as 2026-01-31T18:00:00Z, or seconds since 1970") from None
    if time.tzinfo is None:
        raise ValueError("a time needs its zone, such as the Z of 2026-01-31T18:00:00Z")
    return time.timestamp()


SINCE_1970 = r"^(19[7-9]\d|[2-9]\d{3})-"
Time = Annotated[
    float,
    BeforeValidator(_seconds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "format": "date-time", "pattern": SINCE_1970},
            ]
        }
    ),
]


class EventRequest(BaseModel):
    """What a user did with an item."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={"examples": [EXAMPLE]},
    )

    event_id: Id = Field(description="made by the sender; an event that is sent again under its id counts once")
    user_id: Id = Field(description="id as in the training data, or of somebody new")
    item_id: Id = Field(description="id as in the training data; of other items events are kept and change nothing yet")
    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="view, like and purchase add the item to the user's history; dislike takes it out of it and "
        "keeps it from being recommended; remove takes it out. `HDRM_EVENT_TYPES` may name others"
    )
    timestamp: Annotated[Time, Field(ge=0)] | None = Field(
        None, description="when: seconds since 1970, or a time with its zone; now if it is not given or lies ahead"
    )
    weight: Annotated[float, Field(gt=0, le=1e6)] = Field(
        1.0, description="how much it says; kept, and not yet used in training"
    )


class EventBatch(BaseModel):
    """Several events. Each is accepted or rejected for itself."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, json_schema_extra={"examples": [{"events": [EXAMPLE]}]}
    )

    events: Annotated[list[Any], Field(min_length=1, max_length=MOST_EVENTS)] = Field(
        description="objects as a single event is sent"
    )


def _kind(value: Any) -> str:
    return "batch" if isinstance(value, EventBatch) or (isinstance(value, dict) and "events" in value) else "event"


SentEvents = Annotated[
    Annotated[EventRequest, Tag("event")] | Annotated[EventBatch, Tag("batch")], Discriminator(_kind)
]
"""The body: an event, or a batch, which has `events`."""


class RejectedEvent(BaseModel):
    """An event of a batch that was not accepted."""

    index: int = Field(description="its place in the batch, from 0")
    code: Literal["invalid_request", "user_deleted"] = Field(
        description="what a request for it alone would be told; user_deleted: it is from before the user was deleted"
    )
    errors: list[FieldProblem]


class EventsResponse(BaseModel):
    """What became of the events."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"accepted": 1, "repeated": 0, "unknown_items": 0, "rejected": 0, "errors": []}]
        }
    )

    accepted: int = Field(description="kept durably, now or before")
    repeated: int = Field(description="of these, those that were kept before")
    unknown_items: int = Field(description="of these, those of items that the model does not know")
    rejected: int
    errors: list[RejectedEvent] = Field(description="why each of the rejected was")
