"""Interactions by day: what there was before a number of days, and what came on each of them.

Data with times have days: the last dates, in UTC, that have interactions. Where the data bring parts without times, the
part `train` is what there was before, and a user's newer interactions are dealt over the N days in their order: the one
at place p (from 0) of n falls on day floor(N (p + r) / n), with r from 0 to 1 drawn for each user, so that those with
few begin on different days. The older ones are dealt in the same way over as many days before as make the pace the
same on the whole. Nothing is lost, and no order within a user is changed. Everybody so takes part all the time, at an
even pace of their own; what a calendar has beside, sessions, fashions, new users and items, is not there.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.accuracy.problem import parse_live
from model.errors import DataError
from model.history import Histories
from model.vocabulary import Vocabulary
from training.data.datasets import Dataset, DatasetInfo, make_dataset
from training.data.schema import ITEM_TYPES, TIMESTAMP
from training.retrain.merge import EVENT_TYPES, Happened

__all__ = ["Timeline", "timeline_of"]

Float64 = npt.NDArray[np.float64]

PAIR: Final = ["user_id", "item_id"]
BEFORE: Final = -1  # the day of what is older than the first
DAY_US: Final = 86_400_000_000
BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)  # of days that are made up


@dataclass(frozen=True)
class Timeline:
    """Days of interactions, each pair of user and item once, at its first time.

    Attributes:
        info: of the whole data set.
        base: data of before the first day, with times.
        users, items: the ids of all, whenever they come.
        pairs: columns user_id, item_id, timestamp, day (-1 before the first), user and item (indices), in the order of
            time.
        begins: when each day begins and, last, when the last ends: (days + 1,) seconds since 1970.
        dates: of the days; None where times are made up.
    """

    info: DatasetInfo
    base: Dataset
    users: Vocabulary
    items: Vocabulary
    pairs: pl.DataFrame
    begins: tuple[float, ...]
    dates: tuple[date, ...] | None

    @property
    def days(self) -> int:
        """How many."""
        return len(self.begins) - 1

    def happened(self, day: int) -> Happened:
        """All events of the days before one, as the log of a service would give them."""
        since = self.pairs.filter(pl.col("day").is_between(0, day, closed="left"))
        events = since.with_columns(effect=pl.lit("add")).select(*EVENT_TYPES)
        return Happened(events, pl.DataFrame(schema=ITEM_TYPES), {})

    def histories(self, day: int) -> Histories:
        """What everybody has when a day begins."""
        return self._rows(self.pairs.filter(pl.col("day") < day))

    def truth(self, day: int) -> Histories:
        """What everybody takes on a day."""
        return self._rows(self.pairs.filter(pl.col("day") == day))

    def new(self, day: int, column: str) -> int:
        """Users (`user`) or items (`item`) that come on a day for the first time."""
        first = self.pairs.group_by(column).agg(pl.col("day").min())
        return first.filter(pl.col("day") == day).height

    def _rows(self, pairs: pl.DataFrame) -> Histories:
        return Histories.from_pairs(pairs["user"].to_numpy(), pairs["item"].to_numpy(), len(self.users))


def timeline_of(dataset: Dataset, *, days: int, live: str, seed: int) -> Timeline:
    """The days of a data set: its own, or dealt as the module says.

    Args:
        dataset: with times, or with parts whose rows are in time order within each user.
        days: how many.
        live: of data with parts: the older and the newer of the parts `valid` and `test`, with a colon between.
        seed: of what is drawn for each user where days are dealt.

    Raises:
        ConfigError: `live` names something else.
        DataError: there is no order, there are not enough days, or one of them has nothing.
    """
    dates: tuple[date, ...] | None = None
    match dataset.info.order, dataset.info.presplit:
        case "timestamp", False:
            timed, begins, dates = _dated(dataset, days)
        case "row", True:
            timed = _dealt(dataset, days, parse_live(live), seed)
            begins = tuple(BEGIN.timestamp() + day * DAY_US / 1e6 for day in range(days + 1))
        case _:
            raise DataError(
                f"{dataset.info.name} says neither when its interactions were nor which part of a history is newer",
                hint="take data with times, or parts (train, valid, test) in time order",
            )
    counted = timed.filter(pl.col("day") >= 0)["day"].n_unique()
    if counted < days or timed["day"].item(0) != BEFORE:
        raise DataError(
            f"{dataset.info.name}: interactions on {counted} days, expected {days} and something before them",
            hint="take more data, or fewer --days",
        )
    users, items = (Vocabulary.of(timed[name].unique().sort().to_list()) for name in PAIR)
    pairs = timed.with_columns(
        user=pl.col("user_id").replace_strict(users.ids(), range(len(users)), return_dtype=pl.Int64),
        item=pl.col("item_id").replace_strict(items.ids(), range(len(items)), return_dtype=pl.Int32),
    )
    older = pairs.filter(pl.col("day") == BEFORE).select(*PAIR, "timestamp")
    info = dataset.info
    described = dataset.items.join(older.select("item_id").unique(), on="item_id", how="semi")
    base = make_dataset(older, described, name=info.name, source=info.source, terms=info.terms, order="timestamp")
    return Timeline(info, base, users, items, pairs, begins, dates)


def _dated(dataset: Dataset, days: int) -> tuple[pl.DataFrame, tuple[float, ...], tuple[date, ...]]:
    """Columns user_id, item_id, timestamp and day; when days begin; which they are."""
    frame = dataset.interactions.select(*PAIR, "timestamp").sort("timestamp", maintain_order=True)
    frame = frame.unique(PAIR, keep="first", maintain_order=True).with_columns(date=pl.col("timestamp").dt.date())
    last = frame["date"].unique().sort().tail(days)
    number = pl.col("date").replace_strict(last, range(len(last)), default=BEFORE, return_dtype=pl.Int32)
    midnights = [datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() for day in last]
    begins = (*midnights, midnights[-1] + DAY_US / 1e6)
    return frame.with_columns(day=number).drop("date"), begins, tuple(last)


def _dealt(dataset: Dataset, days: int, live: tuple[str, str], seed: int) -> pl.DataFrame:
    """Columns user_id, item_id, timestamp and day, by times that are made up."""
    rank = {"train": 0, live[0]: 1, live[1]: 2}
    frame = dataset.interactions.select(
        *PAIR, rank=pl.col("part").replace_strict(list(rank), list(rank.values()), return_dtype=pl.Int8)
    )
    frame = frame.sort("rank", maintain_order=True).unique(PAIR, keep="first", maintain_order=True)
    newer = frame["rank"].to_numpy() > 0
    owners = (frame["user_id"].rank("dense") - 1).to_numpy().astype(np.int64)
    group = pl.Series(2 * owners + newer)
    placed = pl.DataFrame({"group": group}).select(place=pl.int_range(pl.len()).over("group"), n=pl.len().over("group"))
    phases = np.random.default_rng([seed, 6]).random(int(owners.max()) + 1)
    shares: Float64 = (placed["place"].to_numpy() + phases[owners]) / placed["n"].to_numpy()
    n_newer = int(newer.sum())
    before = days * (len(newer) - n_newer) / max(n_newer, 1)
    after = np.floor(np.where(newer, days * shares, before * (shares - 1)) * DAY_US)
    # what is rounded up does not leave its side
    micros = np.where(newer, np.minimum(after, days * DAY_US - 1), np.minimum(after, -1)).astype(np.int64)
    timed = frame.with_columns(
        timestamp=pl.Series(micros + round(BEGIN.timestamp() * 1e6)).cast(TIMESTAMP),
        day=pl.Series(np.maximum(micros // DAY_US, BEFORE)).cast(pl.Int32),
    )
    return timed.drop("rank").sort("timestamp", maintain_order=True)
