"""Who reports events and asks for recommendations, over a socket."""

import json
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from typing import Any, Self
from urllib.parse import urlsplit

from model.errors import HdrmError

__all__ = ["Client", "event"]

SECONDS = 60.0


class Client:
    """One connection.

    Args:
        url: of the service.

    Raises:
        OSError: there is nobody, now or at a later call.
    """

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._connection = HTTPConnection(str(place.hostname), place.port, timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def report(self, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the service says of some events."""
        return self._post("/v1/events", {"events": events})

    def recommend(self, who: str | Sequence[str], k: int) -> list[str]:
        """Item ids for a user, or for somebody with a history, best first."""
        asker = {"user_id": who} if isinstance(who, str) else {"history": list(who)}
        return [item["item_id"] for item in self._post("/recommend", asker | {"k": k})["items"]]

    def version(self, user: str) -> str:
        """Of the model that answers a user."""
        return str(self._post("/recommend", {"user_id": user})["model_version"])

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Raises HdrmError for an answer that is no success."""
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        if not 200 <= response.status < 300:
            raise HdrmError(f"{path}: {response.status} {content[:300]!r}")
        answer: dict[str, Any] = json.loads(content)
        return answer


def event(event_id: str, user: str, item: str, timestamp: float | None = None) -> dict[str, Any]:
    """A view, now unless a time is given."""
    told: dict[str, Any] = {"event_id": event_id, "user_id": user, "item_id": item, "type": "view"}
    return told if timestamp is None else told | {"timestamp": timestamp}
