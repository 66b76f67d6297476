"""Encoded interactions, cut into what is trained on, what stops the training and what is reported on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from model.errors import DataError
from model.history import Histories
from model.vocabulary import Vocabulary
from training.config import SplitConfig
from training.data.datasets import Dataset
from training.data.schema import PARTS

__all__ = ["Split", "make_split"]


@dataclass(frozen=True)
class Split:
    """A data set with ids as indices and a row of items for every user in every part.

    Attributes:
        users, items: the ids.
        train: what is learned from.
        valid: stops the training; the history is then `train`.
        test: reported on; the history is then `query`, and what is in train and valid is not recommended.
        query: histories the reported figures are measured with.
        served: histories that go into the artifact.
        ordered: whether rows are in time order, newest last.
        protocol: the above in a sentence, for people.
    """

    users: Vocabulary
    items: Vocabulary
    train: Histories
    valid: Histories
    test: Histories
    query: Histories
    served: Histories
    ordered: bool
    protocol: str

    @property
    def masked(self) -> Histories:
        """What must not be recommended when reporting."""
        return self.train.append(self.valid)


def make_split(dataset: Dataset, config: SplitConfig, *, seed: int) -> Split:
    """Encode a data set and split it: by its own parts, else by time, else (no times) at random within users.

    A repeated (user, item) pair counts once, at its newest place.

    A data set that brings its own parts is a benchmark: the history is `train` throughout, and only `train` is
    served. Otherwise the query history is train and valid, and everything is served.

    Raises:
        DataError: a part would be empty.
    """
    users = Vocabulary.of(sorted(dataset.interactions["user_id"].unique(), key=str.encode))
    items = Vocabulary.of(sorted(dataset.interactions["item_id"].unique(), key=str.encode))
    ordered = dataset.info.order != "none"
    frame = _encode(dataset, users, items)
    if not dataset.info.presplit:
        frame = _cut(frame, config, ordered=ordered, seed=seed)
    rows = {part: _histories(frame.filter(pl.col("part") == part), len(users)) for part in PARTS}
    for part, histories in rows.items():
        if len(histories.items) == 0:
            raise DataError(
                f"the {part} part of {dataset.info.name} is empty",
                hint="the data brings its own split: import one whose three parts have pairs"
                if dataset.info.presplit
                else "histories are too short to hold anything out: add data, or raise split.valid and split.test",
            )
    if dataset.info.presplit:
        query = served = rows["train"]
        protocol = "the data's own split; history: train; not recommended: train and valid; truth: test"
    else:
        query = rows["train"].append(rows["valid"])
        served = query.append(rows["test"])
        cut = {"user": "the newest of every user", "time": "everything after a point in time"}[config.by]
        protocol = f"held out: {cut if ordered else 'at random within users'}; history: train and valid; truth: test"
    return Split(users, items, **rows, query=query, served=served, ordered=ordered, protocol=protocol)


def _encode(dataset: Dataset, users: Vocabulary, items: Vocabulary) -> pl.DataFrame:
    """Columns user, item (integers), timestamp, row, part if presplit; in time order; no repeated pairs."""
    frame = dataset.interactions.with_row_index("row").with_columns(
        user=_index_of("user_id", users), item=_index_of("item_id", items)
    )
    if dataset.info.order == "timestamp":
        frame = frame.sort("timestamp", "row")
    return frame.unique(["user", "item"], keep="last", maintain_order=True)


def _index_of(column: str, vocabulary: Vocabulary) -> pl.Expr:
    return pl.col(column).replace_strict(vocabulary.ids(), range(len(vocabulary)), return_dtype=pl.Int64)


def _cut(frame: pl.DataFrame, config: SplitConfig, *, ordered: bool, seed: int) -> pl.DataFrame:
    """Add the column part."""
    if not ordered:
        frame = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    if config.by == "time" and ordered:
        place, length = pl.int_range(pl.len()), pl.len()
    else:
        place, length = pl.int_range(pl.len()).over("user"), pl.len().over("user")
    test = (length * config.test).floor()
    valid = (length * config.valid).floor()
    return frame.with_columns(
        part=pl.when(place >= length - test)
        .then(pl.lit("test"))
        .when(place >= length - test - valid)
        .then(pl.lit("valid"))
        .otherwise(pl.lit("train"))
    )


def _histories(frame: pl.DataFrame, n_users: int) -> Histories:
    users: npt.NDArray[np.int64] = frame["user"].to_numpy()
    return Histories.from_pairs(users, frame["item"].to_numpy().astype(np.int32), n_users)
