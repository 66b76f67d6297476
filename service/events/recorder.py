"""From events as they come in to events that are kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from service.errors import field_problems
from service.events.event import Effect, Event
from service.events.log import EventLog
from service.events.schemas import EventRequest, EventsResponse, RejectedEvent
from service.responses import FieldProblem

__all__ = ["Recorder"]


class Recorder:
    """Checks events and keeps those that are right.

    Args:
        log: where.
        effects: of the types of events that there are.
        knows_item: whether the model knows an item.
        count: told how many events were new, repeated and rejected.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        log: EventLog,
        effects: Mapping[str, Effect],
        knows_item: Callable[[str], bool],
        count: Callable[[str, int], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._log = log
        self._effects = effects
        self._knows_item = knows_item
        self._count = count
        self._clock = clock

    async def record(self, sent: Sequence[Mapping[str, Any]]) -> EventsResponse:
        """Keep what is right of a batch. It survives a crash when this returns.

        Raises:
            UnavailableError: the log cannot be written; nothing of the batch is acknowledged.
        """
        events, rejected = list[Event](), list[RejectedEvent]()
        for index, one in enumerate(sent):
            checked = self._checked(one)
            if isinstance(checked, Event):
                events.append(checked)
            else:
                rejected.append(RejectedEvent(index=index, errors=checked))
        new = await self._log.append(events) if events else []
        for outcome, number in (("new", sum(new)), ("repeated", new.count(False)), ("rejected", len(rejected))):
            self._count(outcome, number)
        return EventsResponse(
            accepted=len(events),
            repeated=new.count(False),
            unknown_items=sum(not self._knows_item(event.item_id) for event in events),
            rejected=len(rejected),
            errors=rejected,
        )

    def _checked(self, sent: Mapping[str, Any]) -> Event | list[FieldProblem]:
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
