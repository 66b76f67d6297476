"""Requests and responses of the HTTP interface. Requests are strict: nothing is converted, nothing is ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "MOST_ITEMS",
    "CacheState",
    "EventsState",
    "FieldProblem",
    "Health",
    "Id",
    "Item",
    "ProblemDetails",
    "Readiness",
    "RecommendRequest",
    "RecommendResponse",
    "Strategy",
    "allowed_values",
]

Strategy = Literal["hdrm", "popular"]
Id = Annotated[str, Field(min_length=1, max_length=256)]
MOST_ITEMS = 500  # that can be asked for


class RecommendRequest(BaseModel):
    """Who wants recommendations, and how many."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, json_schema_extra={"examples": [{"user_id": "196", "k": 10}]}
    )

    user_id: Id = Field(description="id as in the training data, or in events")
    k: Annotated[int, Field(ge=1, le=MOST_ITEMS)] = Field(10, description="how many items")
    exclude_seen: bool = Field(True, description="leave out the items of the user's history")
    fallback: Literal["popular", "error"] = Field(
        "popular", description="for a user the model does not know: the most popular items, or a 404 problem"
    )


class Item(BaseModel):
    """One recommended item."""

    item_id: str
    rank: int = Field(description="1 for the best")
    score: float = Field(
        description="greater is better: minus the distance; for popular items their share of all interactions"
    )
    distance: float | None = Field(description="hyperbolic distance from the user; null for popular items")
    title: str | None = Field(None, description="present where known")
    year: int | None = Field(None, description="present where known")
    categories: list[str] = Field(default_factory=list, description="present where known")


class RecommendResponse(BaseModel):
    """A ranked list and how it came about."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "2f1c8e0e6f6b4f7f9d5b8a3f0c1d2e3f",
                    "recommendation_id": "8d6f0a52f7f94b0b8f0e6d3c2b1a0f9e",
                    "model_version": "quick-0123456789ab",
                    "strategy": "hdrm",
                    "user_known": True,
                    "degraded": [],
                    "cached": False,
                    "items": [
                        {
                            "item_id": "50",
                            "rank": 1,
                            "score": -0.83,
                            "distance": 0.83,
                            "title": "Star Wars",
                            "year": 1977,
                            "categories": ["Action", "Sci-Fi"],
                        }
                    ],
                    "warnings": [],
                    "took_ms": 1.3,
                }
            ]
        }
    )

    request_id: str = Field(description="X-Request-ID of the request, or one made for it")
    recommendation_id: str = Field(description="a new id for every answer, to relate later events to it")
    model_version: str
    strategy: Strategy = Field(description="how the items were chosen")
    user_known: bool
    degraded: list[Literal["cache", "diffusion", "events"]] = Field(
        description="parts of the service this answer did without"
    )
    cached: bool
    items: list[Item]
    warnings: list[Literal["filters_exhausted"]] = Field(
        description="filters_exhausted: fewer than k items remain once the seen ones are left out"
    )
    took_ms: float


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


def allowed_values(rule: dict[str, Any]) -> str:
    """Words for the values that the JSON schema of a field allows."""
    if "enum" in rule:
        return ", ".join(rule["enum"])
    match rule.get("type"):
        case "integer":
            return f"whole numbers, {rule['minimum']} to {rule['maximum']}"
        case "number":
            return f"numbers above {rule['exclusiveMinimum']:g}, up to {rule['maximum']:g}"
        case "string":
            return f"text of {rule['minLength']} to {rule['maxLength']} characters"
        case "array":
            return f"lists of {rule['minItems']} to {rule['maxItems']} objects"
        case "boolean":
            return "true, false"
        case _:
            return "seconds since 1970, or a time such as 2026-01-31T18:00:00Z"
