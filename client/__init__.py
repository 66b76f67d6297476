"""A typed client of the service. It needs httpx and pydantic, and nothing of what the service runs on."""

from client.client import Client, ServiceError
from service.events.schemas import EventRequest, EventsResponse
from service.requests import CanaryWish, Filter, ItemFields, NewItem, Range, RankRequest, RecommendRequest
from service.responses import (
    BatchResult,
    Item,
    ItemsResponse,
    ItemState,
    ModelsResponse,
    ModelState,
    ProblemDetails,
    Readiness,
    RecommendResponse,
    SimilarUsersResponse,
    UserDeleted,
    UserState,
)

__all__ = [
    "BatchResult",
    "CanaryWish",
    "Client",
    "EventRequest",
    "EventsResponse",
    "Filter",
    "Item",
    "ItemFields",
    "ItemState",
    "ItemsResponse",
    "ModelState",
    "ModelsResponse",
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
