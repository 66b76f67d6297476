"""Users' histories as they are now: what the model brought, and what happened since."""

from bisect import insort
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from model.artifact import Catalogue
from service.events.event import Effect, Event

__all__ = ["LiveHistories", "LiveHistory"]

Int32 = npt.NDArray[np.int32]

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
    """What happened since the model was trained, in the order of time; and what it comes to, until more happens."""

    deleted: bool = False  # and with it what the model brought
    events: list[tuple[float, int, int, Effect]] = field(default_factory=list)  # time, place in the log, item, effect
    history: LiveHistory | None = None


class LiveHistories:
    """Of all users, for one model.

    Events are taken in the order of their own times; those of one time in the order of the log. They all come after the
    history that the model brought. An item that is taken up again moves to the newest place.

    Args:
        catalogue: of the model.
        effects: of the types of events; those of other types change nothing.
        index: of an item; None of one that nobody has described.
    """

    def __init__(self, catalogue: Catalogue, effects: Mapping[str, Effect], index: Callable[[str], int | None]) -> None:
        self.deleted: set[int] = set()  # of the users that the model knows
        self._catalogue = catalogue
        self._effects = effects
        self._index = index
        self._since: dict[str, _Since] = {}
        self._place = 0

    def apply(self, event: Event) -> tuple[int, Effect] | None:
        """Take an event of the log that was not applied before; the item and what happened to it, None if nothing."""
        self._place += 1
        effect, item = self._effects.get(event.type), self._index(event.item_id)
        if effect is None or item is None:
            return None
        since = self._since.setdefault(event.user_id, _Since())
        insort(since.events, (event.timestamp, self._place, item, effect))
        since.history = None
        return item, effect

    def delete(self, user_id: str) -> None:
        """Forget a user, for good of what was before."""
        user = self._catalogue.users.index(user_id)
        if user is not None:
            self.deleted.add(user)
        self._since[user_id] = _Since(deleted=True)

    def in_model(self, user_id: str) -> bool:
        """Whether the model was trained on a user, and that may be used."""
        user = self._catalogue.users.index(user_id)
        return user is not None and user not in self.deleted

    def of(self, user_id: str) -> LiveHistory | None:
        """That of a user; None of one that nothing happened to since the model was trained."""
        since = self._since.get(user_id)
        if since is None:
            return None
        if since.history is None:
            since.history = self._made(user_id, since)
        return since.history

    def _made(self, user_id: str, since: _Since) -> LiveHistory:
        user = None if since.deleted else self._catalogue.users.index(user_id)
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
        taken, size = np.array(list(items), np.int32), len(self._catalogue.items)
        return LiveHistory(
            known=user is not None or bool(since.events),
            items=taken[taken < size],
            new=taken[taken >= size],
            disliked=np.array(sorted(disliked), np.int32),
        )
