"""Ids in paths, which may hold any character, slashes too."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Path
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["EncodedIds", "ItemId", "UserId"]

WITH_IDS = (b"/v1/items/", b"/v1/users/")


def _id(what: str, example: str) -> object:
    return Path(min_length=1, max_length=256, description=f"id of the {what}, percent-encoded", examples=[example])


def _decoded(quoted: str) -> str:
    try:
        return unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        raise PydanticCustomError("utf_8", "not percent-encoded UTF-8") from None


ItemId = Annotated[str, _id("item", "50"), BeforeValidator(_decoded)]
UserId = Annotated[str, _id("user", "196"), BeforeValidator(_decoded)]


class EncodedIds:
    """Leaves the paths that hold ids as they were sent, so that a slash in an id is none of the path; the ids are
    decoded by their types.

    Args:
        app: what is inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http" and scope.get("raw_path", b"").startswith(WITH_IDS):
            scope["path"] = scope["raw_path"].partition(b"?")[0].decode("ascii", "replace")
        await self.app(scope, receive, send)
