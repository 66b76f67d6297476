"""From events as they come in to events that are kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from pydantic import ValidationError

from service.errors import field_problems
from service.events.event import Effect, Event
from service.events.log import EventLog
from service.events.schemas import EventRequest, EventsResponse, RejectedEvent
from service.live.live import Live
from service.live.state import LiveState
from service.responses import FieldProblem

__all__ = ["Recorder"]


class Recorder:
    """Checks events and keeps those that are right.

    Args:
        log: where.
        live: brings what follows from it up to date.
        state: that.
        effects: of the types of events that there are.
        count: told how many events were new, repeated and rejected.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        log: EventLog,
        live: Live,
        state: LiveState,
        effects: Mapping[str, Effect],
        count: Callable[[str, int], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._live = live
        self._state = state
        self._effects = effects
        self._count = count
        self._clock = clock

    async def record(self, sent: Sequence[Any]) -> EventsResponse:
        """Keep what is right of a batch. It survives a crash when this returns.

        Raises:
            UnavailableError: the log cannot be written; nothing of the batch is acknowledged.
        """
        await self._live.catch_up()
        events, rejected = list[Event](), list[RejectedEvent]()
        for index, one in enumerate(sent):
            checked = self._checked(one)
            if not isinstance(checked, Event):
                rejected.append(RejectedEvent(index=index, code="invalid_request", errors=checked))
            elif checked.timestamp <= self._state.histories.deletions.get(checked.user_id, -inf):
                # most likely one that is sent again: it would bring back what was to be forgotten
                errors = [FieldProblem(field="timestamp", message="the user was deleted after this")]
                rejected.append(RejectedEvent(index=index, code="user_deleted", errors=errors))
            else:
                events.append(checked)
        new = await self._log.append(events) if events else []
        for outcome, number in (("new", sum(new)), ("repeated", new.count(False)), ("rejected", len(rejected))):
            self._count(outcome, number)
        return EventsResponse(
            accepted=len(events),
            repeated=new.count(False),
            unknown_items=sum(self._state.items.index(event.item_id) is None for event in events),
            rejected=len(rejected),
            errors=rejected,
        )

    def _checked(self, sent: Any) -> Event | list[FieldProblem]:
        try:
            wanted = EventRequest.model_validate(sent)
        except ValidationError as error:
            return field_problems(error.errors())
        if wanted.type not in self._effects:
            return [FieldProblem(field="type", message="there is no such type", allowed=", ".join(self._effects))]
        now = self._clock()
        given = now if wanted.timestamp is None else wanted.timestamp
        return Event(
            event_id=wanted.event_id,
            user_id=wanted.user_id,
            item_id=wanted.item_id,
            type=wanted.type,
            timestamp=min(given, now),  # a clock that is fast must not make an event the newest for good
            weight=wanted.weight,
        )
