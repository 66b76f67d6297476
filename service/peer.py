"""What the server tells the application about a connection, beyond what ASGI can say without waiting."""

import asyncio
from typing import Any

from starlette.types import Scope

__all__ = ["EXTENSION", "Peer", "is_alone", "peer_of", "whole_body"]

EXTENSION = "hdrm"  # of the scope; its members are `peer`, `requests` and, where it is there at once, `body`


class Peer:
    """The other end of a connection.

    Attributes:
        gone: whether it has hung up.
        serving: the task that answers it now.
    """

    __slots__ = ("gone", "serving")

    def __init__(self) -> None:
        self.gone = False
        self.serving: asyncio.Task[Any] | None = None

    def leave(self) -> None:
        """It has hung up: nothing need be done for it any more."""
        self.gone = True
        if self.serving is not None:
            self.serving.cancel()


def peer_of(scope: Scope) -> Peer:
    """Who asks; of a server that does not say, somebody who never hangs up."""
    peer: Peer | None = _extension(scope).get("peer")
    return Peer() if peer is None else peer


def is_alone(scope: Scope) -> bool:
    """Whether the server has no other request now; not known of a server that does not say."""
    return len(_extension(scope).get("requests", ())) == 1


def whole_body(scope: Scope) -> bytes | None:
    """The request's body if all of it is there already."""
    body: bytes | None = _extension(scope).get("body")
    return body


def _extension(scope: Scope) -> dict[str, Any]:
    extension: dict[str, Any] = scope.get("extensions", {}).get(EXTENSION, {})
    return extension
