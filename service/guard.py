"""Who may do what: before anything else looks at a request."""

import math
import re
from collections.abc import Sequence
from functools import partial

from limits import RateLimitItem
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem, problem_response
from service.keys import Key, KeyFile, parse_rate
from service.keys import Scope as KeyScope
from service.rates import Rates

__all__ = ["Guard", "scope_needed"]

OPEN = {"/livez", "/readyz", "/openapi.json", "/docs"}
OPEN_BELOW = "/docs/"
SIMILAR = re.compile(r"/v1/users/[^/]+/similar")


def scope_needed(method: str, path: str) -> KeyScope | None:
    """The scope that a request needs where keys are in use; None for what is open to all.

    What is not known here needs a key as well.
    """
    if path in OPEN or path.startswith(OPEN_BELOW):
        return None
    if path == "/v1/models" or path.startswith("/v1/models/"):
        return "admin"
    if path.startswith("/v1/users/") and not (method == "GET" and SIMILAR.fullmatch(path)):
        return "admin"
    if method in {"PUT", "PATCH", "DELETE"} or path == "/v1/events":
        return "write"
    return "read"


class Guard:
    """Lets requests through that have a key for what they ask.

    Args:
        app: what is inside.
        keys: the keys; where none are in use everything is let through.
        rates: counts requests.
        default_rate: of keys that have none of their own; None for any number.
        origins: whose pages may change what is served, beside the service's own.
    """

    def __init__(
        self, app: ASGIApp, keys: KeyFile, rates: Rates, default_rate: str | None, origins: Sequence[str]
    ) -> None:
        self.app = app
        self._keys = keys
        self._origins = origins
        self._rates = rates
        self._default = None if default_rate is None else parse_rate(default_rate)
        self._parsed: dict[str, RateLimitItem] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            try:
                await self._check(scope)
            except Problem as problem:
                await problem_response(Request(scope), problem)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        if scope["method"] == "POST" and scope["path"].startswith("/v1/models") and self._is_foreign(scope):
            # a browser asks nobody before it sends one without a body, on whichever page
            raise Problem(403, "cross_site", "Pages of other origins may not do this.")
        keys = self._keys.current()
        needed = None if keys is None else scope_needed(scope["method"], scope["path"])
        if keys is None or needed is None:
            return
        token = _token(scope)
        key = None if token is None else keys.find(token)
        if key is None:
            detail = "A key is needed: X-API-Key: KEY, or Authorization: Bearer KEY."
            if token is not None:
                detail = "This is not a valid key."
            raise Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        scope["state"]["key_id"] = key.id
        if needed not in key.scopes:
            raise Problem(403, "forbidden", f"This needs a key with the scope {needed}.")
        rate = self._rate(key)
        if rate is not None:
            scope["state"]["charge"] = partial(self._charge, rate, key.id)
            await self._charge(rate, key.id, 1)

    def _is_foreign(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1")
        if not origin or origin in self._origins:
            return False
        return bool(origin.partition("://")[2] != headers.get(b"host", b"").decode("latin-1"))

    async def _charge(self, rate: RateLimitItem, key_id: str, requests: int) -> None:
        if wait := await self._rates.wait_seconds(rate, key_id, requests):
            headers = {"Retry-After": str(math.ceil(wait))}
            raise Problem(429, "rate_limited", f"The key may make no more than {rate}.", headers=headers)

    def _rate(self, key: Key) -> RateLimitItem | None:
        if key.rate is None:
            return self._default
        if key.rate not in self._parsed:
            self._parsed[key.rate] = parse_rate(key.rate)
        return self._parsed[key.rate]


def _token(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            return str(value.decode("latin-1"))
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return str(value[7:].strip().decode("latin-1"))
    return None
