"""Bodies of JSON, with a bound on how many fields an object may have.

What is wrong with each field is told, and of a million unknown ones that would hold up all others for seconds.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.errors import Problem
from service.responses import FieldProblem

__all__ = ["JsonRoute"]

MOST_FIELDS = 100  # of one object, several times what any has


class JsonRoute(APIRoute):
    """A route that refuses objects of too many fields before anybody looks at them."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handler(_BoundedRequest(request.scope, request.receive))

        return bounded


class _BoundedRequest(Request):
    async def json(self) -> Any:
        return json.loads(await self.body(), object_pairs_hook=_bounded)


def _bounded(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        allowed = f"objects of at most {MOST_FIELDS} fields"
        found = FieldProblem(field="body", message=f"an object has {len(pairs)} fields", allowed=allowed)
        raise Problem(422, "invalid_request", "Not valid: body.", errors=[found])
    return dict(pairs)
