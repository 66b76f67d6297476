"""Users' histories as they are now: what the model brought, and what happened since."""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.artifact import Catalogue
from service.events.event import Effect, Event
from service.events.record import Deletion

__all__ = ["NOTHING", "LiveHistories", "LiveHistory"]

Int32 = npt.NDArray[np.int32]
When = tuple[float, int]  # time, place in the log

NOTHING: Int32 = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class LiveHistory:
    """Of one user; items are told by their indices, those that the model does not have by greater ones.

    Attributes:
        known: whether there is anything to know.
        items: those that the model has, newest last, none twice.
        new: those that it does not have, newest last.
        disliked: ascending, none of them in the others.
    """

    known: bool
    items: Int32
    new: Int32
    disliked: Int32


@dataclass(slots=True)
class _Since:
    """What happened to a user's items since the model was trained: of each item the last, which is all that counts.

    Attributes:
        before: what the model brought.
        last: when something last happened to each item, and what it did.
        taken: when, and the item, of those whose last was an addition, in the order of time.
        history: what it comes to, until more happens.
    """

    before: Int32
    known: bool
    last: dict[int, tuple[When, Effect]] = field(default_factory=dict)
    taken: list[tuple[When, int]] = field(default_factory=list)
    history: LiveHistory | None = None


class LiveHistories:
    """Of all users, for one model. To be used by one thread.

    Events are taken in the order of their own times; those of one time in the order of the log. They all come after the
    history that the model brought. An item that is taken up again moves to the newest place.

    Args:
        catalogue: of the model.
        effects: of the types of events; those of other types change nothing.
        index: of an item; None of one that nobody has described.
        respected: ids of deletions that the model's users came back after, as its training knew.

    Attributes:
        deleted: of the users that the model knows, those that it may not use.
        deletions: when each user was last deleted.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        effects: Mapping[str, Effect],
        index: Callable[[str], int | None],
        respected: Collection[str] = (),
    ) -> None:
        self.deleted: set[int] = set()
        self.deletions: dict[str, float] = {}
        self._catalogue = catalogue
        self._effects = effects
        self._index = index
        self._respected = frozenset(respected)
        self._since: dict[str, _Since] = {}
        self._place = 0

    def apply(self, event: Event) -> tuple[int, Effect] | None:
        """Take an event of the log that was not applied before; the item and what happened to it, None if nothing."""
        self._place += 1
        effect, item = self._effects.get(event.type), self._index(event.item_id)
        if effect is None or item is None:
            return None
        since = self._since.get(event.user_id)
        if since is None:
            user = self._catalogue.users.index(event.user_id)
            before = NOTHING if user is None else self._catalogue.histories[user]
            since = self._since[event.user_id] = _Since(before, known=True)
        since.known, since.history = True, None
        when, last = (event.timestamp, self._place), since.last.get(item)
        if last is None or when > last[0]:
            if last is not None and last[1] == "add":
                del since.taken[bisect_left(since.taken, (last[0], item))]
            since.last[item] = when, effect
            if effect == "add":
                insort(since.taken, (when, item))
        return item, effect

    def delete(self, deletion: Deletion) -> None:
        """Forget a user: what happened, and what the model brought, if its training did not know better."""
        user_id = deletion.user_id
        self.deletions[user_id] = deletion.timestamp
        user = self._catalogue.users.index(user_id)
        if user is not None and deletion.deletion_id in self._respected:
            self._since.pop(user_id, None)  # what the model has of this user came later
            return
        if user is not None:
            self.deleted.add(user)
        self._since[user_id] = _Since(NOTHING, known=False)

    def in_model(self, user_id: str) -> bool:
        """Whether the model was trained on a user, and that may be used."""
        user = self._catalogue.users.index(user_id)
        return user is not None and user not in self.deleted

    def is_deleted(self, user_id: str) -> bool:
        """Whether a user was deleted and has not come again."""
        since = self._since.get(user_id)
        return since is not None and not since.known

    def newcomers(self) -> list[str]:
        """Ids of the users that events alone tell of."""
        index = self._catalogue.users.index
        return [user_id for user_id, since in self._since.items() if since.known and index(user_id) is None]

    def of(self, user_id: str) -> LiveHistory | None:
        """That of a user; None of one that nothing happened to since the model was trained."""
        since = self._since.get(user_id)
        if since is None:
            return None
        if since.history is None:
            since.history = self._made(since)
        return since.history

    def newest(self, user_id: str, most: int) -> Int32:
        """The newest items of a user that the model has, newest last: at most so many, and soon told."""
        since = self._since.get(user_id)
        if since is None:
            user = self._catalogue.users.index(user_id)
            return NOTHING if user is None else self._catalogue.histories[user][-most:]
        size, items = len(self._catalogue.items), list[int]()
        for _, item in reversed(since.taken):
            if len(items) == most:
                break
            if item < size:
                items.append(item)
        for item in since.before[::-1].tolist():
            if len(items) == most:
                break
            if item not in since.last:
                items.append(item)
        return np.array(items[::-1], np.int32)

    def _made(self, since: _Since) -> LiveHistory:
        kept = [item for item in since.before.tolist() if item not in since.last]
        items = np.array(kept + [item for _, item in since.taken], np.int32)
        size = len(self._catalogue.items)
        disliked = sorted(item for item, (_, effect) in since.last.items() if effect == "dislike")
        return LiveHistory(since.known, items[items < size], items[items >= size], np.array(disliked, np.int32))
