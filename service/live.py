"""Users' histories as they are now: what the model brought, and what happened since."""

import asyncio
import logging
from bisect import insort
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.artifact import Catalogue
from model.errors import UnavailableError
from service.events.event import Effect, Event
from service.events.log import EventLog

__all__ = ["Live", "LiveHistories", "LiveHistory"]

Int32 = npt.NDArray[np.int32]

NOTHING: Int32 = np.zeros(0, np.int32)
RETRY_SECONDS = 1.0

logger = logging.getLogger("hdrm.service")


@dataclass(frozen=True, slots=True)
class LiveHistory:
    """Of one user.

    Attributes:
        items: item indices, newest last, none twice.
        disliked: item indices, ascending, none of them in `items`.
    """

    items: Int32
    disliked: Int32


@dataclass(slots=True)
class _Since:
    """What happened since the model was trained, in the order of time; and what it comes to, until more happens."""

    events: list[tuple[float, int, int, Effect]] = field(default_factory=list)  # time, place in the log, item, effect
    history: LiveHistory | None = None


class LiveHistories:
    """Of all users, for one model.

    Events are taken in the order of their own times; those of one time in the order of the log. They all come after the
    history that the model brought. An item that is taken up again moves to the newest place.

    Args:
        catalogue: of the model.
        effects: of the types of events; those of other types change nothing.
    """

    def __init__(self, catalogue: Catalogue, effects: Mapping[str, Effect]) -> None:
        self._catalogue = catalogue
        self._effects = effects
        self._since: dict[str, _Since] = {}
        self._place = 0

    def apply(self, events: Sequence[Event]) -> None:
        """Events of the log that were not applied before. Items that the model does not know change nothing."""
        for event in events:
            self._place += 1
            effect, item = self._effects.get(event.type), self._catalogue.items.index(event.item_id)
            if effect is None or item is None:
                continue
            since = self._since.setdefault(event.user_id, _Since())
            insort(since.events, (event.timestamp, self._place, item, effect))
            since.history = None

    def of(self, user_id: str) -> LiveHistory | None:
        """That of a user; None of one that nothing happened to since the model was trained."""
        since = self._since.get(user_id)
        if since is None:
            return None
        if since.history is None:
            since.history = self._made(user_id, since)
        return since.history

    def _made(self, user_id: str, since: _Since) -> LiveHistory:
        user = self._catalogue.users.index(user_id)
        before = NOTHING if user is None else self._catalogue.histories[user]
        items = dict.fromkeys(before.tolist())
        disliked: set[int] = set()
        for _, _, item, effect in since.events:
            items.pop(item, None)
            disliked.discard(item)
            if effect == "add":
                items[item] = None
            elif effect == "dislike":
                disliked.add(item)
        return LiveHistory(np.array(list(items), np.int32), np.array(sorted(disliked), np.int32))


class Live:
    """Histories that are brought up to date before they are looked at.

    While the log is out of reach, histories are as they were last known and no request waits for it: it is tried again
    beside them.

    Args:
        log: of events.
        histories: are told of them.
        timeout_seconds: longest time that a request waits for the log.

    Attributes:
        backend: of the log.
    """

    def __init__(self, log: EventLog, histories: LiveHistories, *, timeout_seconds: float) -> None:
        self.backend = log.backend
        self._follower = log.follow(histories.apply)
        self._timeout = timeout_seconds
        self._recovery: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether events may be missing."""
        return self._recovery is not None

    @property
    def behind(self) -> bool:
        """Whether there may be events to take in before an answer."""
        return self._recovery is None and self._follower.behind

    async def start(self) -> None:
        """Take in the whole log, however long that takes; what cannot be read now is left for later."""
        try:
            await self._follower.catch_up()
        except UnavailableError as error:
            self._recover(error)

    async def catch_up(self) -> None:
        """Take in what was acknowledged until now, if the log can be read in time."""
        if not self.behind:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._follower.catch_up()
        except (UnavailableError, TimeoutError) as error:
            self._recover(error)

    async def close(self) -> None:
        """Release what it holds."""
        if self._recovery is not None:
            self._recovery.cancel()
        await self._follower.close()

    def _recover(self, error: Exception) -> None:
        if self._recovery is None:  # others may have failed in the same moment
            logger.warning("events: going on without new ones (%s)", str(error) or type(error).__name__)
            self._recovery = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(UnavailableError):
                await self._follower.catch_up()
                break
        self._recovery = None
        logger.info("events: the log answers again")
