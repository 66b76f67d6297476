"""What is said about items and users: kept durably, and true from the next answer on."""

import time
from collections.abc import Callable

from service.errors import Problem
from service.events.log import EventLog
from service.events.record import deletion_of, item_change
from service.listings import item_unknown
from service.live.live import Live
from service.live.state import LiveState
from service.lookup import Lookup
from service.requests import ItemFields, NewItem
from service.responses import FieldProblem, ItemState, UserDeleted, UserEvent, UserState

__all__ = ["Keeper"]


class Keeper:
    """Keeps changes of items and deletions of users, and tells what is kept.

    Args:
        log: where.
        live: brings what follows from the log up to date.
        state: that.
        lookup: of users.
        clock: seconds since 1970.
    """

    def __init__(
        self, log: EventLog, live: Live, state: LiveState, lookup: Lookup, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._log = log
        self._live = live
        self._state = state
        self._lookup = lookup
        self._clock = clock

    async def item(self, item_id: str) -> ItemState:
        """An item as it is now.

        Raises:
            Problem: 404, there is none of this id.
        """
        await self._live.catch_up()
        return self._item(item_id)

    def _item(self, item_id: str) -> ItemState:
        items = self._state.items
        index = items.index(item_id)
        if index is None:
            raise item_unknown()
        facts, in_model = items.facts(index), index < items.size
        return ItemState(
            item_id=item_id,
            title=facts.title,
            year=facts.year,
            categories=facts.categories,
            hidden=items.is_hidden(index),
            in_model=in_model,
            placed=in_model or index in self._state.placement.placed.items,
        )

    async def put_item(self, item_id: str, described: NewItem) -> tuple[bool, ItemState]:
        """Describe an item anew; whether it is new, and what it is then.

        Raises:
            UnavailableError: this cannot be kept, or not be read again now.
        """
        await self._live.catch_up()
        is_new = self._state.items.index(item_id) is None
        await self._log.append([item_change(item_id, described.model_dump(), creates=True, timestamp=self._clock())])
        await self._live.certainly()
        return is_new, self._item(item_id)

    async def change_item(self, item_id: str, fields: ItemFields) -> ItemState:
        """Change some of what is known of an item.

        Raises:
            Problem: 404, there is none of this id.
            UnavailableError: this cannot be kept, or not be read again now.
        """
        await self.item(item_id)
        facts = fields.model_dump(include=fields.model_fields_set)
        await self._log.append([item_change(item_id, facts, creates=False, timestamp=self._clock())])
        await self._live.certainly()
        return self._item(item_id)

    async def user(self, user_id: str) -> UserState:
        """All that is stored of a user.

        Raises:
            Problem: 404, nothing is.
            UnavailableError: the log cannot be read now.
        """
        await self._live.catch_up()
        events, (known, items, new, disliked) = await self._log.of_user(user_id), self._lookup.of_user(user_id)
        if not known and not events:
            unknown = FieldProblem(field="user_id", message="nothing is stored of this user")
            raise Problem(404, "user_unknown", "Nothing is stored of this user.", errors=[unknown])
        name = self._state.items.id
        return UserState(
            user_id=user_id,
            in_model=self._state.histories.in_model(user_id),
            history=[name(item) for item in (*items.tolist(), *new.tolist())],
            disliked=[name(item) for item in disliked.tolist()],
            events=[
                UserEvent(event_id=e.event_id, item_id=e.item_id, type=e.type, timestamp=e.timestamp, weight=e.weight)
                for e in events
            ],
        )

    async def delete_user(self, user_id: str) -> UserDeleted:
        """Forget a user.

        Raises:
            UnavailableError: this cannot be kept, or not be read again now.
        """
        await self._live.catch_up()
        in_model = self._state.histories.in_model(user_id)
        events = await self._log.delete_user(deletion_of(user_id, timestamp=self._clock()))
        await self._live.certainly()
        return UserDeleted(user_id=user_id, events=events, in_model=in_model)
