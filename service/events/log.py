"""The log: appended to durably by any process, read in one order by all."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from model.errors import NothingKeptError
from service.events.event import Event
from service.events.record import Deletion, Record

__all__ = ["Backend", "EventLog", "Follower", "NoLog", "Sink"]

Backend = Literal["redis", "sqlite"]
Sink = Callable[[Sequence[Record]], None]


class Follower(Protocol):
    """Tells a sink every record of the log, once, in the log's order; not those that were deleted before it came."""

    @property
    def behind(self) -> bool:
        """Whether there may be records that the sink was not told; costs next to nothing."""
        ...

    @property
    def position(self) -> str:
        """Where in the log the last record is that the sink was told."""
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
    """Keeps records. None as its backend: it keeps none."""

    @property
    def backend(self) -> Backend | None: ...

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """Keep records; when this returns they survive a crash.

        Returns:
            For each, whether it is new: False where a record of that id is kept already.

        Raises:
            UnavailableError: the log cannot be written; none of these records is acknowledged.
        """
        ...

    async def of_user(self, user_id: str) -> list[Event]:
        """All events of a user, in the log's order.

        Raises:
            UnavailableError: the log cannot be read now.
        """
        ...

    async def delete_user(self, deletion: Deletion) -> int:
        """Take all events of a user out of the log, and keep that this was done: both, or neither.

        Returns:
            How many events there were.

        Raises:
            UnavailableError: the log cannot be written; nothing is acknowledged.
        """
        ...

    def follow(self, sink: Sink, *, after: str | None = None, until: str | None = None) -> Follower:
        """What tells a sink of all records.

        Args:
            sink: is told.
            after: a follower's position, behind which to begin; None for the first record.
            until: a follower's position, with which to end; None for what comes as well.
        """
        ...

    async def close(self) -> None:
        """Release what it holds, once all that was begun is kept."""
        ...


class NoLog:
    """Keeps nothing, and says so to who brings something; it is its own follower."""

    backend = None
    behind = False
    position = ""

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """See `EventLog.append`."""
        raise _keeps_nothing()

    async def of_user(self, user_id: str) -> list[Event]:
        """See `EventLog.of_user`."""
        return []

    async def delete_user(self, deletion: Deletion) -> int:
        """See `EventLog.delete_user`."""
        raise _keeps_nothing()

    def follow(self, sink: Sink, *, after: str | None = None, until: str | None = None) -> "NoLog":
        """See `EventLog.follow`."""
        return self

    async def catch_up(self) -> None:
        """See `Follower.catch_up`."""

    async def close(self) -> None:
        """See `EventLog.close`."""


def _keeps_nothing() -> NothingKeptError:
    return NothingKeptError("this service keeps no events", hint="set HDRM_EVENTS, or make the folder writable")
