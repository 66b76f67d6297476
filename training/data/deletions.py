"""Data without what users have had deleted."""

from collections.abc import Mapping
from typing import Protocol

import polars as pl

from training.data.datasets import Dataset, make_dataset

__all__ = ["Deleted", "not_deleted", "without_deleted"]


class Deleted(Protocol):
    """That a user was deleted, the last time."""

    @property
    def deletion_id(self) -> str:
        """Tells this deletion from all others."""
        ...

    @property
    def timestamp(self) -> float:
        """When, seconds since 1970."""
        ...


def without_deleted(dataset: Dataset, deleted: Mapping[str, Deleted]) -> Dataset:
    """The data without the interactions of deleted users, but for those that came after the deletion.

    Interactions without a time count as older than any deletion.

    Args:
        dataset: all data.
        deleted: those who were, by user id.
    """
    kept = not_deleted(dataset.interactions, deleted)
    if len(kept) == len(dataset.interactions):
        return dataset
    info = dataset.info
    return make_dataset(kept, dataset.items, name=info.name, source=info.source, terms=info.terms, order=info.order)


def not_deleted(rows: pl.DataFrame, deleted: Mapping[str, Deleted]) -> pl.DataFrame:
    """The same of a table with columns `user_id` and `timestamp`: possibly nothing."""
    if not deleted:
        return rows
    when = pl.DataFrame(
        {"user_id": list(deleted), "_deleted": [round(1e6 * one.timestamp) for one in deleted.values()]},
        schema={"user_id": pl.String, "_deleted": pl.Int64},
    )
    marked = rows.join(when, on="user_id", how="left", maintain_order="left")
    later = (pl.col("timestamp").dt.epoch("us") > pl.col("_deleted")).fill_null(False)
    return marked.filter(pl.col("_deleted").is_null() | later).drop("_deleted")
