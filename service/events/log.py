"""The log of events: appended to durably by any process, read in one order by all."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from service.errors import Problem
from service.events.event import Event

__all__ = ["Backend", "EventLog", "Follower", "NoLog", "Sink"]

Backend = Literal["redis", "sqlite"]
Sink = Callable[[Sequence[Event]], None]


class Follower(Protocol):
    """Tells a sink every event of the log, once, in the log's order."""

    @property
    def behind(self) -> bool:
        """Whether there may be events that the sink was not told; costs next to nothing."""
        ...

    async def catch_up(self) -> None:
        """Returns once the sink was told all that any process was acknowledged before this call.

        Raises:
            UnavailableError: the log cannot be read now; a later call goes on where the last one stopped.
        """
        ...

    async def close(self) -> None:
        """Release what it holds."""
        ...


class EventLog(Protocol):
    """Keeps events. None as its backend: it keeps none."""

    @property
    def backend(self) -> Backend | None: ...

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """Keep events; when this returns they survive a crash.

        Returns:
            For each, whether it is new: False where an event of that id is kept already.

        Raises:
            UnavailableError: the log cannot be written; none of these events is acknowledged.
        """
        ...

    def follow(self, sink: Sink) -> Follower:
        """What tells a sink of all events, from the first on."""
        ...

    async def close(self) -> None:
        """Release what it holds, once all that was begun is kept."""
        ...


class NoLog:
    """Keeps no events, and says so to who brings some; it is its own follower."""

    backend = None
    behind = False

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """See `EventLog.append`."""
        raise Problem(503, "events_unavailable", "This service keeps no events.")

    def follow(self, sink: Sink) -> "NoLog":
        """See `EventLog.follow`."""
        return self

    async def catch_up(self) -> None:
        """See `Follower.catch_up`."""

    async def close(self) -> None:
        """See `EventLog.close`."""
