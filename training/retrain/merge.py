"""The data to train on anew: what there was, and what happened since.

It is what the service makes of the same events for its answers, so that a user's history does not change when a model
replaces the other: of each pair of user and item the last event decides, and an item that is taken up again moves to
the newest place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from model.errors import DataError
from training.data.catalogue import complete_items
from training.data.datasets import Dataset, Order, make_dataset
from training.data.deletions import Deleted, not_deleted
from training.data.schema import INTERACTION_TYPES, ITEM_TYPES, TIMESTAMP

__all__ = ["EFFECTS", "EVENT_TYPES", "Happened", "merged"]

EFFECTS: Final = ("add", "dislike", "remove")
EVENT_TYPES: Final[dict[str, pl.DataType]] = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "effect": pl.String(),
    "timestamp": TIMESTAMP,
}
PAIR: Final = ["user_id", "item_id"]
SOURCE: Final = "events"


@dataclass(frozen=True)
class Happened:
    """What the log holds.

    Attributes:
        events: columns as in `EVENT_TYPES`, none null, in the order of the log; an effect is one of `EFFECTS`.
        items: facts, as they are now, of items that were changed or are new, each once: columns as in a data set's
            `items`.
        deletions: the last of each deleted user, by user id.
    """

    events: pl.DataFrame
    items: pl.DataFrame
    deletions: Mapping[str, Deleted]

    def __post_init__(self) -> None:
        if dict(self.events.schema) != EVENT_TYPES:
            raise ValueError(f"events: got {self.events.schema}, expected {EVENT_TYPES}")
        if unknown := set(self.events["effect"].unique()) - {*EFFECTS}:
            raise ValueError(f"events.effect: got {unknown}, expected {', '.join(EFFECTS)}")
        if self.events["timestamp"].null_count():
            raise ValueError("events.timestamp: expected a time in every row")
        if dict(self.items.schema) != ITEM_TYPES:
            raise ValueError(f"items: got {self.items.schema}, expected {ITEM_TYPES}")


def merged(base: Dataset | None, happened: Happened, *, name: str) -> Dataset:
    """The base data and all that happened since, as one data set.

    Of what deleted users had, nothing of before their deletion is left. For a pair of user and item with events, the
    base's rows give way to what the last event (by time, then by place in the log) made of it: one interaction at
    that time, or none. They stand after the base's, in the order of time, with a time if the base has times and
    without a rating. Items that nobody has described have no facts.

    Args:
        base: all data of before the events; None for nothing.
        happened: since then.
        name: of the result.

    Raises:
        DataError: the base has parts of its own, or nothing is left.
    """
    if base is not None and base.info.presplit:
        raise DataError(
            f"{base.info.name} brings its own split, which says of no event where it belongs",
            hint="retrain on data without a column of parts: import it again without one",
        )
    before = _nothing() if base is None else not_deleted(base.interactions, happened.deletions)
    order: Order = "timestamp" if base is None else base.info.order
    last = _last_of_pairs(not_deleted(happened.events, happened.deletions))
    added = last.filter(pl.col("effect") == "add").drop("effect")
    if order != "timestamp":
        added = added.with_columns(timestamp=pl.lit(None, TIMESTAMP))
    kept = before.join(last, on=PAIR, how="anti", maintain_order="left")
    interactions = pl.concat([kept, added], how="diagonal")
    if interactions.is_empty():
        raise DataError(
            "no interactions are left of the base data and the events",
            hint="train once there are some: import data, or let the service record events",
        )
    described = pl.DataFrame(schema=ITEM_TYPES) if base is None else base.items
    items = pl.concat([described.join(happened.items, on="item_id", how="anti"), happened.items])
    return make_dataset(
        interactions,
        complete_items(items, interactions),
        name=name,
        source=SOURCE if base is None else f"{base.info.source} and {SOURCE}",
        terms=None if base is None else base.info.terms,
        order=order,
    )


def _nothing() -> pl.DataFrame:
    return pl.DataFrame(schema={column: INTERACTION_TYPES[column] for column in (*PAIR, "timestamp")})


def _last_of_pairs(events: pl.DataFrame) -> pl.DataFrame:
    """The last event of each pair, in the order of time, then of the log."""
    in_time = events.sort("timestamp", maintain_order=True)
    return in_time.unique(PAIR, keep="last", maintain_order=True)
