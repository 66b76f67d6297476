"""One method for each call of the service, with the service's own requests and responses as types.

from client import Client, RecommendRequest

with Client("http://127.0.0.1:8000") as hdrm:
    for item in hdrm.recommend(RecommendRequest(user_id="196", k=5)).items:
        print(item.rank, item.title)
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from service.events.schemas import EventRequest, EventsResponse
from service.requests import Activation, CanaryWish, ItemFields, NewItem, RankRequest, RecommendRequest
from service.responses import (
    BatchResponse,
    BatchResult,
    ItemsResponse,
    ItemState,
    ModelsResponse,
    ProblemDetails,
    Readiness,
    RecommendResponse,
    SimilarUsersResponse,
    UserDeleted,
    UserState,
)

__all__ = ["Client", "ServiceError"]

Response = TypeVar("Response", bound=BaseModel)

AGAIN = {429, 503}  # statuses that say when to try again
LONGEST_PAUSE_SECONDS = 30.0


class ServiceError(Exception):
    """An answer that is a problem.

    Attributes:
        status: of HTTP.
        problem: the document; None if what answered was not the service.
    """

    def __init__(self, status: int, problem: ProblemDetails | None) -> None:
        self.status = status
        self.problem = problem
        detail = "no problem document" if problem is None else f"{problem.code}: {problem.detail}"
        wrong = "" if problem is None else "".join(f"\n  {e.field}: {e.message}" for e in problem.errors)
        super().__init__(f"{status} {detail}{wrong}")


class Client:
    """Calls a service. To be closed, or used in a `with` statement; not to be shared between threads.

    Every call but `roll_back` may be sent again without harm, events too, by their ids: where the service says that it
    is busy, or cannot be reached, that is done.

    Args:
        url: where the service is.
        key: API key, where keys are in use.
        timeout_seconds: longest time that a call waits for an answer.
        attempts: how often a call is tried at most.
        transport: how requests are sent; None for HTTP.

    Raises (all calls):
        ServiceError: the answer is a problem.
        httpx.TransportError: there is no answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        key: str | None = None,
        timeout_seconds: float = 10.0,
        attempts: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {} if key is None else {"X-API-Key": key}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds, transport=transport)
        self._attempts = attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._http.close()

    def ready(self) -> Readiness:
        """What is served, and in which state."""
        return self._call(Readiness, "GET", "/readyz")

    def recommend(self, request: RecommendRequest) -> RecommendResponse:
        """A ranked list for a user, a history or a group."""
        return self._call(RecommendResponse, "POST", "/v1/recommend", request)

    def recommend_all(self, requests: Sequence[RecommendRequest]) -> list[BatchResult]:
        """Answers to several requests, or what is wrong with them, in their order."""
        bodies = [request.model_dump(mode="json", exclude_unset=True) for request in requests]
        return self._call(BatchResponse, "POST", "/v1/recommend/batch", {"requests": bodies}).results

    def rank(self, request: RankRequest) -> RecommendResponse:
        """Items in order."""
        return self._call(RecommendResponse, "POST", "/v1/rank", request)

    def popular(
        self, k: int = 10, *, category: str | None = None, window_seconds: float | None = None
    ) -> ItemsResponse:
        """What most have taken."""
        return self._call(ItemsResponse, "GET", "/v1/popular", k=k, category=category, window_seconds=window_seconds)

    def similar_items(self, item_id: str, k: int = 10, *, category: str | None = None) -> ItemsResponse:
        """Items near to an item."""
        return self._call(ItemsResponse, "GET", f"/v1/items/{_part(item_id)}/similar", k=k, category=category)

    def similar_users(self, user_id: str, k: int = 10) -> SimilarUsersResponse:
        """Users near to a user."""
        return self._call(SimilarUsersResponse, "GET", f"/v1/users/{_part(user_id)}/similar", k=k)

    def record(self, events: Sequence[EventRequest]) -> EventsResponse:
        """Keep what users did. When this returns, what is accepted survives a crash."""
        bodies = [event.model_dump(mode="json", exclude_unset=True) for event in events]
        return self._call(EventsResponse, "POST", "/v1/events", {"events": bodies})

    def item(self, item_id: str) -> ItemState:
        """An item as it is now."""
        return self._call(ItemState, "GET", f"/v1/items/{_part(item_id)}")

    def put_item(self, item_id: str, described: NewItem) -> ItemState:
        """Describe an item, a new one or anew."""
        return self._call(ItemState, "PUT", f"/v1/items/{_part(item_id)}", described)

    def change_item(self, item_id: str, fields: ItemFields) -> ItemState:
        """Change some of what is known of an item."""
        return self._call(ItemState, "PATCH", f"/v1/items/{_part(item_id)}", fields)

    def user(self, user_id: str) -> UserState:
        """All that is stored of a user."""
        return self._call(UserState, "GET", f"/v1/users/{_part(user_id)}")

    def delete_user(self, user_id: str) -> UserDeleted:
        """Forget a user."""
        return self._call(UserDeleted, "DELETE", f"/v1/users/{_part(user_id)}")

    def models(self) -> ModelsResponse:
        """What there is to serve, and what is served."""
        return self._call(ModelsResponse, "GET", "/v1/models")

    def activate(self, version: str, *, force: bool = False) -> ModelsResponse:
        """Make a model current."""
        return self._call(ModelsResponse, "POST", f"/v1/models/{_part(version)}/activate", Activation(force=force))

    def roll_back(self) -> ModelsResponse:
        """Make the model current that was before. It goes one further back each time, so it is never sent again."""
        return self._call(ModelsResponse, "POST", "/v1/models/rollback", attempts=1)

    def try_out(self, canary: CanaryWish) -> ModelsResponse:
        """Let a share of the users be answered by another model."""
        return self._call(ModelsResponse, "PUT", "/v1/models/canary", canary)

    def drop_canary(self) -> ModelsResponse:
        """Let everybody be answered by the current model."""
        return self._call(ModelsResponse, "DELETE", "/v1/models/canary")

    def _call(
        self,
        kind: type[Response],
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | None = None,
        *,
        attempts: int | None = None,
        **parameters: str | float | None,
    ) -> Response:
        content = body.model_dump(mode="json", exclude_unset=True) if isinstance(body, BaseModel) else body
        given = {name: value for name, value in parameters.items() if value is not None}
        most = self._attempts if attempts is None else attempts
        for attempt in range(1, most + 1):
            last = attempt == most
            try:
                response = self._http.request(method, path, json=content, params=given)
            except httpx.TransportError:
                if last:
                    raise
                time.sleep(attempt)
                continue
            if response.is_success:
                return kind.model_validate_json(response.content)
            if response.status_code not in AGAIN or last:
                raise _error(response)
            time.sleep(_pause(response))
        raise ValueError(f"attempts: got {self._attempts}, expected at least 1")


def _part(id_: str) -> str:
    """An id as part of a path."""
    return quote(id_, safe="")


def _pause(response: httpx.Response) -> float:
    told = response.headers.get("retry-after", "")
    return min(float(told) if told.isdecimal() else 1.0, LONGEST_PAUSE_SECONDS)


def _error(response: httpx.Response) -> ServiceError:
    try:
        problem = ProblemDetails.model_validate_json(response.content)
    except ValidationError:
        problem = None
    return ServiceError(response.status_code, problem)
