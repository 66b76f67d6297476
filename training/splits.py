"""Encoded interactions, cut into what is trained on, what stops the training and what is reported on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from model.errors import DataError
from model.history import Histories
from model.vocabulary import Vocabulary
from training.config import SplitConfig
from training.corpus import LEAST_HISTORY, hold_out
from training.data.datasets import Dataset
from training.data.schema import PARTS

__all__ = ["Split", "make_split"]


@dataclass(frozen=True)
class Split:
    """A data set with ids as indices and a row of items for every user in every part.

    Attributes:
        users, items: the ids.
        search: what is learned from while looking for the moment to stop.
        stop: held out then, newer than `search`; the model published has learned from both.
        valid: not learned from, and not recommended when reporting; empty unless the data brings its own parts.
        test: reported on; the history is then `train`.
        served: histories that go into the artifact.
        ordered: whether rows are in time order, newest last.
        protocol: the above in a sentence, for people.
    """

    users: Vocabulary
    items: Vocabulary
    search: Histories
    stop: Histories
    valid: Histories
    test: Histories
    served: Histories
    ordered: bool
    protocol: str

    @property
    def train(self) -> Histories:
        """Everything that is learned from."""
        return self.search.append(self.stop)

    @property
    def masked(self) -> Histories:
        """What must not be recommended when reporting."""
        return self.train.append(self.valid)


def make_split(dataset: Dataset, config: SplitConfig, *, seed: int) -> Split:
    """Encode a data set and split it: by its own parts, else by time, else (no times) at random within users.

    A repeated (user, item) pair counts once: at its newest place, or in the first of the parts that the data brings.

    A data set that brings its own parts is a benchmark: what is learned from, history and what is served are its
    `train`; items of its `valid` are not recommended, and nothing else is made of them. Otherwise everything is
    served. What the training is stopped by is cut from what is learned from in either case.

    Raises:
        DataError: a part would be empty.
    """
    users = Vocabulary.of(sorted(dataset.interactions["user_id"].unique(), key=str.encode))
    items = Vocabulary.of(sorted(dataset.interactions["item_id"].unique(), key=str.encode))
    ordered = dataset.info.order != "none"
    frame = _encode(dataset, users, items)

    def rows(frame: pl.DataFrame) -> Histories:
        return _histories(frame, len(users))

    if dataset.info.presplit:
        train, valid, test = (rows(frame.filter(pl.col("part") == part)) for part in PARTS)
        served = train
        protocol = "the data's own split; history: train; not recommended: train and valid; truth: test"
    else:
        served = rows(frame)
        if config.by == "time" and ordered:
            train, test = (rows(part) for part in _divide(frame, config.test))
        else:
            train, test = hold_out(served, config.test, ordered=ordered, seed=seed)
        valid = train.select(np.zeros(len(train.items), bool))
        cut = {"user": "the newest of every user", "time": "everything after a point in time"}[config.by]
        protocol = f"held out: {cut if ordered else 'at random within users'}; history: everything else"
    search, stop = hold_out(train, config.stop, ordered=ordered, seed=seed)
    for name, part in (("train", train), ("test", test), ("stop", stop)):
        if len(part.items) == 0:
            raise DataError(
                f"the {name} part of {dataset.info.name} is empty",
                hint="the data brings its own split: import one whose parts have pairs; what is in an earlier part too "
                "counts there alone"
                if dataset.info.presplit and name != "stop"
                else f"something is held out of histories of {LEAST_HISTORY} interactions or more: add data",
            )
    return Split(users, items, search, stop, valid, test, served, ordered, protocol)


def _encode(dataset: Dataset, users: Vocabulary, items: Vocabulary) -> pl.DataFrame:
    """Columns user, item (integers), timestamp, row, part if presplit; in time order; no repeated pairs."""
    frame = dataset.interactions.with_row_index("row").with_columns(
        user=_index_of("user_id", users), item=_index_of("item_id", items)
    )
    if dataset.info.order == "timestamp":
        frame = frame.sort("timestamp", "row")
    # what stands in `train` of a split that the data brings is learned from, wherever else it stands
    return frame.unique(["user", "item"], keep="first" if dataset.info.presplit else "last", maintain_order=True)


def _index_of(column: str, vocabulary: Vocabulary) -> pl.Expr:
    return pl.col(column).replace_strict(vocabulary.ids(), range(len(vocabulary)), return_dtype=pl.Int64)


def _divide(frame: pl.DataFrame, share: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows in time order, cut at one moment: all but the newest share, and that."""
    kept = frame.height - int(frame.height * share)
    return frame.head(kept), frame.tail(frame.height - kept)


def _histories(frame: pl.DataFrame, n_users: int) -> Histories:
    users: npt.NDArray[np.int64] = frame["user"].to_numpy()
    return Histories.from_pairs(users, frame["item"].to_numpy().astype(np.int32), n_users)
