"""What routes share: the running service, and how its errors are documented."""

from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request

from service.answers import Answers
from service.errors import Problem
from service.events.recorder import Recorder
from service.keeper import Keeper
from service.responses import ProblemDetails
from service.roster import Roster

__all__ = ["CLOSED", "charge", "keeping", "problems", "recording", "running", "serving"]

# of every route that is not open to all
CLOSED = {
    401: "The request has no key, or not one that is valid (`unauthorized`). Only where keys are in use.",
    403: "The key may not be used for this (`forbidden`).",
    429: "The key has made more requests than it may (`rate_limited`); see `Retry-After`.",
    500: "The service failed; its log has the cause.",
    503: "No model is loaded, or too many requests are waiting; see `Retry-After`.",
}


def serving(request: Request) -> Roster:
    """Who answers.

    Raises:
        Problem: 503, no model is loaded.
    """
    roster: Roster | None = request.app.state.roster
    if roster is None:
        raise Problem(503, "model_unavailable", "No model is loaded.")
    return roster


async def running(request: Request) -> AsyncIterator[Answers]:
    """What answers by the current model, until the request has ended; raises as `serving`."""
    with (current := serving(request).current).used():
        yield current.answers


async def keeping(request: Request) -> AsyncIterator[Keeper]:
    """What keeps changes of items and users; raises as `serving`."""
    with (current := serving(request).current).used():
        yield current.keeper


async def recording(request: Request) -> AsyncIterator[Recorder]:
    """What keeps events; raises as `serving`."""
    with (current := serving(request).current).used():
        yield current.recorder


async def charge(request: Request, requests: int) -> None:
    """Count further requests of the same key.

    Raises:
        Problem: 429, it may not make so many.
    """
    if "charge" in request.scope["state"]:
        await request.scope["state"]["charge"](requests)


def problems(descriptions: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Documentation of a route's error answers, by status."""
    return {status: {"model": ProblemDetails, "description": text} for status, text in sorted(descriptions.items())}
