"""The short way: requests that are plain and well-formed are answered without the framework.

Matching a route, resolving what it depends on and serialising a response cost a multiple of an answer from the cache.
What is not as plain as can be (another content type, a body that is still arriving, anything that will be refused)
goes on to the framework, which alone decides what is wrong with it.
"""

from functools import partial

from pydantic import ValidationError
from starlette.datastructures import State
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from model.errors import HdrmError
from service.errors import Problem, error_response
from service.peer import is_alone, whole_body
from service.requests import RecommendRequest
from service.roster import Roster

__all__ = ["Front"]

CONTENT_TYPE = (b"content-type", b"application/json")
RECOMMEND = (("POST", "/recommend"), ("POST", "/v1/recommend"))


class Front:
    """Answers the recommend routes.

    Args:
        app: what is inside, the framework at the end.
        state: the application's, which holds the service.
        max_bytes: longest body that may be read.
    """

    def __init__(self, app: ASGIApp, state: State, max_bytes: int) -> None:
        self.app = app
        self._state = state
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        place = (scope["method"], scope["path"]) if scope["type"] == "http" else None
        roster: Roster | None = self._state.roster
        wanted = self._request(scope) if place in RECOMMEND else None
        if wanted is None or roster is None:
            await self.app(scope, receive, send)
            return
        scope["state"]["route"] = scope["path"]
        try:
            answer = await roster.recommend(wanted, scope["state"]["request_id"], alone=partial(is_alone, scope))
        except (Problem, HdrmError) as error:
            await error_response(Request(scope), error)(scope, receive, send)
        else:
            scope["state"]["phases"] = answer.phases
            await _respond(send, answer.body)

    def _request(self, scope: Scope) -> RecommendRequest | None:
        """What is asked for, None if that takes a closer look."""
        body = whole_body(scope)
        if body is None or len(body) > self._max_bytes or CONTENT_TYPE not in scope["headers"]:
            return None
        try:
            return RecommendRequest.model_validate_json(body)
        except ValidationError:
            return None


async def _respond(send: Send, body: bytes) -> None:
    headers = [CONTENT_TYPE, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
