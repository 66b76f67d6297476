"""Responses of the HTTP interface."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

__all__ = [
    "BatchResponse",
    "BatchResult",
    "CacheState",
    "CanaryState",
    "EventsState",
    "FieldProblem",
    "Health",
    "Item",
    "ItemState",
    "ItemsResponse",
    "ModelState",
    "ModelsResponse",
    "ProblemDetails",
    "Readiness",
    "Reason",
    "RecommendResponse",
    "SimilarUser",
    "SimilarUsersResponse",
    "Strategy",
    "UserDeleted",
    "UserEvent",
    "UserState",
    "Warned",
]

Strategy = Literal["hdrm", "popular"]
Warned = Literal["filters_exhausted", "unknown_items", "unknown_users", "unknown_categories"]


class Reason(BaseModel):
    """An item of the history that is near to the recommended one."""

    item_id: str
    title: str | None = Field(None, description="present where known")
    distance: float = Field(description="hyperbolic distance between the two items")


class Item(BaseModel):
    """One item of an answer. With `fields` only those are there."""

    item_id: str | None = Field(None, description="always there, unless `fields` leaves it out")
    rank: int | None = Field(None, description="1 for the best; goes on from page to page")
    score: float | None = Field(
        None,
        description="minus the distance; for popular items their share of all interactions. The order is that of the "
        "score unless novelty or diversity are asked for",
    )
    distance: float | None = Field(
        None, description="hyperbolic distance from the user, the group or the item; null for popular items"
    )
    title: str | None = Field(None, description="present where known")
    year: int | None = Field(None, description="present where known")
    categories: list[str] = Field(default_factory=list, description="present where known")
    reasons: list[Reason] = Field(
        default_factory=list, description="with `explain`: the nearest items of the history, the nearest first"
    )


EXAMPLE_ITEM: dict[str, JsonValue] = {
    "item_id": "50",
    "rank": 1,
    "score": -0.83,
    "distance": 0.83,
    "title": "Star Wars",
    "year": 1977,
    "categories": ["Action", "Sci-Fi"],
}
EXAMPLE_ANSWER: dict[str, JsonValue] = {
    "request_id": "2f1c8e0e6f6b4f7f9d5b8a3f0c1d2e3f",
    "recommendation_id": "8d6f0a52f7f94b0b8f0e6d3c2b1a0f9e",
    "cached": False,
    "degraded": [],
    "took_ms": 1.3,
    "model_version": "quick-0123456789ab",
    "strategy": "hdrm",
    "user_known": True,
    "items": [EXAMPLE_ITEM],
    "warnings": [],
    "next_cursor": "cXVpY2stMDEyMzQ1Njc4OWFiIDEwIDZmOWE",
}


class RecommendResponse(BaseModel):
    """A ranked list and how it came about."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_ANSWER]})

    request_id: str = Field(description="X-Request-ID of the request, or one made for it")
    recommendation_id: str = Field(description="a new id for every answer, to relate later events to it")
    model_version: str
    strategy: Strategy = Field(description="how the items were chosen: by the model from a history, or by popularity")
    user_known: bool | None = Field(description="of a group, whether all are; null where nobody is named")
    degraded: list[Literal["cache", "diffusion", "events"]] = Field(
        description="parts of the service this answer did without"
    )
    cached: bool
    items: list[Item]
    warnings: list[Warned] = Field(
        description="filters_exhausted: fewer than k items remain once seen and filtered ones are left out; "
        "unknown_items, unknown_users, unknown_categories: some that the request names do not exist"
    )
    next_cursor: str | None = Field(description="asks for the items after these; null where there are none")
    took_ms: float


class BatchResult(BaseModel):
    """What became of one request of a batch."""

    status: int = Field(description="what the status would have been alone")
    answer: RecommendResponse | None = Field(None, description="present with status 200")
    problem: "ProblemDetails | None" = Field(None, description="present with any other status")


class BatchResponse(BaseModel):
    """One result for each request, in their order."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"results": [{"status": 200, "answer": EXAMPLE_ANSWER}]}]}
    )

    results: list[BatchResult]


class ItemsResponse(BaseModel):
    """A ranked list that is nobody's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "2f1c8e0e6f6b4f7f9d5b8a3f0c1d2e3f",
                    "model_version": "quick-0123456789ab",
                    "items": [EXAMPLE_ITEM | {"score": 0.0125, "distance": None}],
                    "warnings": [],
                }
            ]
        }
    )

    request_id: str
    model_version: str
    items: list[Item]
    warnings: list[Warned] = Field(description="filters_exhausted: there are fewer than k; unknown_categories")


class SimilarUser(BaseModel):
    """A user near to another."""

    user_id: str
    rank: int
    distance: float = Field(description="hyperbolic distance between the two")


class SimilarUsersResponse(BaseModel):
    """Users near to another, as the training saw them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "2f1c8e0e6f6b4f7f9d5b8a3f0c1d2e3f",
                    "model_version": "quick-0123456789ab",
                    "users": [{"user_id": "186", "rank": 1, "distance": 0.41}],
                }
            ]
        }
    )

    request_id: str
    model_version: str
    users: list[SimilarUser]


class ItemState(BaseModel):
    """An item as it is now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "item_id": "50",
                    "title": "Star Wars",
                    "year": 1977,
                    "categories": ["Action", "Sci-Fi"],
                    "hidden": False,
                    "in_model": True,
                    "placed": True,
                }
            ]
        }
    )

    item_id: str
    title: str | None
    year: int | None
    categories: list[str]
    hidden: bool
    in_model: bool = Field(description="whether the model was trained on it")
    placed: bool = Field(
        description="whether it can be recommended by nearness; a new one once enough users have taken it"
    )


class UserEvent(BaseModel):
    """An event that is kept."""

    event_id: str
    item_id: str
    type: str
    timestamp: float
    weight: float


EXAMPLE_EVENT: dict[str, JsonValue] = {
    "event_id": "8f14e45f",
    "item_id": "50",
    "type": "view",
    "timestamp": 1769882400.0,
    "weight": 1.0,
}


class UserState(BaseModel):
    """All that is stored of a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "196",
                    "in_model": True,
                    "history": ["242", "50"],
                    "disliked": [],
                    "events": [EXAMPLE_EVENT],
                }
            ]
        }
    )

    user_id: str
    in_model: bool = Field(description="whether the model was trained on this user, and may use that")
    history: list[str] = Field(description="item ids, newest last: what the model was trained on and what came since")
    disliked: list[str]
    events: list[UserEvent] = Field(description="all that are kept, in the order they came")


class UserDeleted(BaseModel):
    """What was deleted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "196", "events": 12, "in_model": True}]})

    user_id: str
    events: int = Field(description="events that were kept, and are not any more")
    in_model: bool = Field(
        description="whether the model was trained on this user: it makes no use of that any more, and the next "
        "training leaves the user out"
    )


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class CacheState(BaseModel):
    """The answer cache."""

    backend: Literal["memory", "redis"]
    state: Literal["ok", "degraded"] = Field(description="degraded: it cannot be reached; answers go on without it")


class EventsState(BaseModel):
    """Events since the model was trained."""

    backend: Literal["redis", "sqlite"] | None = Field(description="null: none are kept")
    state: Literal["ok", "degraded"] = Field(description="degraded: new ones cannot be read; answers go on without")


class CanaryState(BaseModel):
    """A model that is tried out."""

    version: str
    share: float = Field(description="of the users that are answered by it")


class ModelState(BaseModel):
    """A published model."""

    version: str
    created_at: str | None = Field(None, description="when it was trained, ISO 8601, UTC")
    data: str | None = Field(None, description="name of the data it was trained on")
    users: int | None = None
    items: int | None = None
    interactions: int | None = None
    metrics: dict[str, float] = Field({}, description="on what was held out when it was trained")
    refused: bool = Field(False, description="whether the gate refused it")
    damaged: bool = Field(False, description="whether its manifest cannot be read")


EXAMPLE_MODEL: dict[str, JsonValue] = {
    "version": "quick-0123456789ab",
    "created_at": "2026-01-31T03:04:05+00:00",
    "data": "ml-100k",
    "users": 943,
    "items": 1682,
    "interactions": 100000,
    "metrics": {"ndcg@20": 0.2, "recall@20": 0.3},
    "refused": False,
    "damaged": False,
}


class ModelsResponse(BaseModel):
    """What there is to serve."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "current": "quick-0123456789ab",
                    "serving": "quick-0123456789ab",
                    "canary": None,
                    "previous": [],
                    "models": [EXAMPLE_MODEL],
                }
            ]
        }
    )

    current: str | None = Field(description="the model to be served; every worker follows within seconds")
    serving: str = Field(description="the model that is served by the worker that answers this")
    canary: CanaryState | None = Field(description="the model that a share of the users is to be answered by")
    previous: list[str] = Field(description="what a rollback goes back to, step by step")
    models: list[ModelState] = Field(description="the newest first")


class Readiness(BaseModel):
    """The service can answer."""

    status: Literal["ready"]
    model_version: str
    canary: CanaryState | None = Field(description="null: the model answers everybody")
    cache: CacheState
    events: EventsState


class FieldProblem(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description='name of the field; "body" for the body as a whole')
    message: str
    allowed: str | None = Field(None, description="allowed values, present where known")


class ProblemDetails(BaseModel):
    """An error, after RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str = Field(description="path of the request")
    code: str = Field(description="stable name of the kind of error, for programs")
    request_id: str
    errors: list[FieldProblem]
