"""One thing a user did with an item."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["EFFECTS", "Effect", "Event"]

Effect = Literal["add", "dislike", "remove"]
"""What a type of event does to a history: add, the item becomes the newest of it; dislike, it leaves it and is never
recommended again; remove, it leaves it, as if nothing had been."""

EFFECTS: dict[str, Effect] = {
    "view": "add",
    "like": "add",
    "purchase": "add",
    "dislike": "dislike",
    "remove": "remove",
}
"""The types there are unless the settings say otherwise."""


@dataclass(frozen=True, slots=True)
class Event:
    """See module.

    Attributes:
        event_id: given by whoever reports it; one that is reported again is the same event.
        user_id, item_id: ids as in the training data, or new ones.
        type: what was done, see `EFFECTS`.
        timestamp: when, seconds since 1970 UTC.
        weight: how much it says, for training; positive.
    """

    event_id: str
    user_id: str
    item_id: str
    type: str
    timestamp: float
    weight: float = 1.0
