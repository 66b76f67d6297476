"""Requests and responses of the HTTP interface. Requests are strict: nothing is converted, nothing is ignored."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

__all__ = [
    "MOST_ENTRIES",
    "MOST_ITEMS",
    "MOST_LISTED",
    "BatchRequest",
    "BatchResponse",
    "BatchResult",
    "CacheState",
    "EventsState",
    "FieldName",
    "FieldProblem",
    "Filter",
    "Health",
    "Id",
    "Item",
    "ItemFields",
    "ItemState",
    "ItemsResponse",
    "NewItem",
    "PopularParams",
    "ProblemDetails",
    "Range",
    "RankRequest",
    "Readiness",
    "Reason",
    "RecommendRequest",
    "RecommendResponse",
    "SimilarItemsParams",
    "SimilarUser",
    "SimilarUsersParams",
    "SimilarUsersResponse",
    "Strategy",
    "UserDeleted",
    "UserEvent",
    "UserState",
    "Warned",
]

Strategy = Literal["hdrm", "popular"]
Warned = Literal["filters_exhausted", "unknown_items", "unknown_users", "unknown_categories"]
FieldName = Literal["item_id", "rank", "score", "distance", "title", "year", "categories", "reasons"]

MOST_ITEMS = 500  # that can be asked for
MOST_LISTED = 1000  # ids in one list of a request
MOST_MEMBERS = 100  # of a group
MOST_ENTRIES = 1000  # of a batch


def _whole(value: Any) -> Any:
    """A number without a fraction is a whole one, however JSON writes it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[str, Field(min_length=1, max_length=256)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MOST_LISTED)]
MaybeIds = Annotated[list[Id], Field(max_length=MOST_LISTED)]
Category = Annotated[str, Field(min_length=1, max_length=256)]
Categories = Annotated[list[Category], Field(max_length=100)]
Title = Annotated[str, Field(min_length=1, max_length=1000)]
Year = Annotated[int, Field(ge=-9999, le=9999), BeforeValidator(_whole)]
Bound = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_whole)]
Count = Annotated[int, Field(ge=1, le=MOST_ITEMS), BeforeValidator(_whole)]


def _one_of(**types: str) -> dict[str, JsonValue]:
    """JSON schema of an object that has exactly one of these fields, not null."""
    return {"oneOf": [{"required": [name], "properties": {name: {"type": type_}}} for name, type_ in types.items()]}


ASKERS = _one_of(user_id="string", history="array", user_ids="array")


class Strict(BaseModel):
    """What all requests have in common."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Range(Strict):
    """Numbers from one to another; a bound that is not given does not bind. An item without the number is outside."""

    gte: Bound | None = Field(None, description="the least")
    lte: Bound | None = Field(None, description="the greatest")


class Filter(Strict):
    """Which items may be answered; all that is given has to hold. An empty list restricts nothing."""

    allow: MaybeIds = Field(default_factory=list, description="only these items")
    deny: MaybeIds = Field(default_factory=list, description="not these items")
    categories_any: Categories = Field(default_factory=list, description="at least one of these")
    categories_all: Categories = Field(default_factory=list, description="all of these")
    categories_none: Categories = Field(default_factory=list, description="none of these")
    year: Range | None = Field(None, description="release year")
    interactions: Range | None = Field(None, description="interactions that the model was trained on")


class Asker(Strict):
    """Who asks: exactly one of a user, a history, and a group."""

    user_id: Id | None = Field(None, description="id as in the training data, or in events")
    history: Ids | None = Field(
        None, description="what somebody without an id has taken, item ids, newest last; nothing of it is kept"
    )
    user_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_MEMBERS)] | None = Field(
        None, description="a group: answered from the middle of its members' places"
    )
    fallback: Literal["popular", "error"] = Field(
        "popular", description="for a user the model does not know: the most popular items, or a 404 problem"
    )
    disliked: MaybeIds = Field(
        default_factory=list,
        description="items to keep away from, and from what is like them; beside those disliked in events",
    )
    explain: bool = Field(False, description="with each item those of the history that are nearest to it")
    fields: Annotated[list[FieldName], Field(min_length=1, max_length=8)] | None = Field(
        None, description="what to answer of each item; by default everything"
    )

    @model_validator(mode="after")
    def _one_asker(self) -> Self:
        if (self.user_id is not None) + (self.history is not None) + (self.user_ids is not None) != 1:
            raise PydanticCustomError(
                "one_of", "exactly one of user_id, history and user_ids is required", {"field": "user_id"}
            )
        return self


class RecommendRequest(Asker):
    """Who wants recommendations, how many, and which."""

    model_config = ConfigDict(
        json_schema_extra={
            **ASKERS,
            "examples": [
                {"user_id": "196", "k": 10},
                {"history": ["50", "172"], "k": 5, "explain": True},
                {"user_ids": ["196", "186"], "filter": {"categories_any": ["Comedy"], "year": {"gte": 1990}}},
                {
                    "user_id": "196",
                    "disliked": ["286"],
                    "novelty": 0.5,
                    "diversity": 0.3,
                    "fields": ["item_id", "title"],
                },
            ],
        }
    )

    k: Count = Field(10, description="how many items")
    exclude_seen: bool = Field(True, description="leave out the items of the history")
    filter: Filter | None = Field(None, description="which items may be answered")
    novelty: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.0, description="above 0 for what fewer know, below 0 for what more know"
    )
    diversity: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="how much the items are to differ from each other, at the price of nearness"
    )
    cursor: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        None, description="`next_cursor` of the answer before: goes on behind it"
    )


class RankRequest(Asker):
    """Who wants which items put in order."""

    model_config = ConfigDict(
        json_schema_extra={**ASKERS, "examples": [{"user_id": "196", "item_ids": ["50", "172", "286"]}]}
    )

    item_ids: Ids = Field(description="the items")


class BatchRequest(Strict):
    """Several requests. Each is answered, or refused, for itself."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"requests": [{"user_id": "196"}, {"user_id": "186", "k": 5}]}]}
    )

    requests: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_ENTRIES)] = Field(
        description="objects as for /v1/recommend"
    )


class SimilarUsersParams(Strict):
    """How many users."""

    model_config = ConfigDict(strict=False)

    k: Count = Field(10, description="how many")


class SimilarItemsParams(SimilarUsersParams):
    """How many items, and which."""

    category: Category | None = Field(None, description="only items of this category")


class PopularParams(SimilarItemsParams):
    """How many items, which, and from how long ago on."""

    window_seconds: Annotated[float, Field(gt=0, le=2_592_000)] | None = Field(
        None, description="count what was taken in the last so many seconds, by events; by default what was trained on"
    )


class ItemFields(Strict):
    """What to change of an item; what is not given stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"hidden": True}], "minProperties": 1})

    title: Title | None = Field(None, description="null for none")
    year: Year | None = Field(None, description="release year; null for none")
    categories: Categories = Field(default_factory=list, description="instead of those it has")
    hidden: bool = Field(False, description="whether it is kept out of all answers")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError(
                "nothing", "expected at least one of title, year, categories and hidden", {"field": "body"}
            )
        return self


class NewItem(Strict):
    """All that is known of an item."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"title": "Contact", "year": 1997, "categories": ["Drama", "Sci-Fi"]}]}
    )

    title: Title | None = Field(None, description="null for none")
    year: Year | None = Field(None, description="release year; null for none")
    categories: Categories = Field(default_factory=list)
    hidden: bool = Field(False, description="whether it is kept out of all answers")


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


class Readiness(BaseModel):
    """The service can answer."""

    status: Literal["ready"]
    model_version: str
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
