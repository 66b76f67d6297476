"""What the log keeps: events, changes of items, and that users were deleted."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import orjson

from service.events.event import Event
from service.ids import new_id

__all__ = ["Deletion", "ItemChange", "Record", "deletion_of", "item_change", "pack", "record_id", "unpack", "user_of"]


@dataclass(frozen=True, slots=True)
class ItemChange:
    """What was said about an item.

    Attributes:
        change_id: a new one for every change.
        item_id: the item's.
        creates: whether the item may be new; then all facts are given.
        facts: some of title, year, categories and hidden, with their values.
        timestamp: when, seconds since 1970 UTC.
    """

    change_id: str
    item_id: str
    creates: bool
    facts: Mapping[str, Any]
    timestamp: float


@dataclass(frozen=True, slots=True)
class Deletion:
    """That a user was deleted: what was known until now is not known any more, whoever brings it.

    Attributes:
        deletion_id: a new one for every deletion.
        user_id: the user's.
        timestamp: when, seconds since 1970 UTC.
    """

    deletion_id: str
    user_id: str
    timestamp: float


Record = Event | ItemChange | Deletion

KINDS: dict[str, type[Event] | type[ItemChange] | type[Deletion]] = {
    "event": Event,
    "item": ItemChange,
    "deletion": Deletion,
}


def item_change(item_id: str, facts: Mapping[str, Any], *, creates: bool, timestamp: float) -> ItemChange:
    """A change under a new id."""
    return ItemChange(f"item:{new_id()}", item_id, creates, facts, timestamp)


def deletion_of(user_id: str, *, timestamp: float) -> Deletion:
    """A deletion under a new id."""
    return Deletion(f"deletion:{new_id()}", user_id, timestamp)


def record_id(record: Record) -> str:
    """What tells a record from all others; one that is brought again under it is the same."""
    match record:
        case Event():
            return record.event_id
        case ItemChange():
            return record.change_id
        case Deletion():
            return record.deletion_id


def user_of(record: Record) -> str | None:
    """Whom it is about."""
    return None if isinstance(record, ItemChange) else record.user_id


def pack(record: Record) -> bytes:
    """JSON: the kind, and the fields in order."""
    kind = next(kind for kind, class_ in KINDS.items() if isinstance(record, class_))
    return orjson.dumps([kind, *astuple(record)])


def unpack(packed: bytes | str) -> Record:
    """The record that was packed."""
    kind, *fields = orjson.loads(packed)
    return KINDS[kind](*fields)
