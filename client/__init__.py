"""A typed client of the service. It needs httpx and pydantic, and nothing of what the service runs on."""

from client.client import Client, ServiceError
from service.events.schemas import EventRequest, EventsResponse
from service.schemas import (
    BatchResult,
    Filter,
    Item,
    ItemFields,
    ItemsResponse,
    ItemState,
    NewItem,
    ProblemDetails,
    Range,
    RankRequest,
    Readiness,
    RecommendRequest,
    RecommendResponse,
    SimilarUsersResponse,
    UserDeleted,
    UserState,
)

__all__ = [
    "BatchResult",
    "Client",
    "EventRequest",
    "EventsResponse",
    "Filter",
    "Item",
    "ItemFields",
    "ItemState",
    "ItemsResponse",
    "NewItem",
    "ProblemDetails",
    "Range",
    "RankRequest",
    "Readiness",
    "RecommendRequest",
    "RecommendResponse",
    "ServiceError",
    "SimilarUsersResponse",
    "UserDeleted",
    "UserState",
]
