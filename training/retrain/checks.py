"""Is this the data that it should be? Beside the last run's, and on its own.

A night adds a little to what was there. What a file cut short, read twice or with mixed-up columns, or a flood of
events makes of it, shows in a few numbers; each has a limit (`training.retrain.limits.DataLimits`).

Popularity's drift is the Jensen-Shannon distance [1], the root of the divergence in bits, between the items' shares of
two sets of pairs. Of a few new pairs it is large whatever they are, so for them the distance d is set against the one
c of as many draws from the last run's shares: (d - c) / (1 - c).

Reference: [1] Endres and Schindelin, A New Metric for Probability Distributions, IEEE Trans. Inf. Theory, 2003.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from model.artifact import Catalogue
from training.data.datasets import Dataset
from training.retrain.limits import DataLimits

__all__ = ["Check", "Known", "check_data", "js_distance", "percent"]

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

PAIR: Final = ["user_id", "item_id"]


@dataclass(frozen=True, slots=True)
class Check:
    """A number beside its limit.

    Attributes:
        name: of the limit.
        value: what was measured; None where that could not be done.
        limit: what it may be; None where it decides nothing.
        passed: whether it is so.
        sentence: all this for people.
    """

    name: str
    value: float | None
    limit: float | None
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Known:
    """What the last run was trained on.

    Attributes:
        pairs: columns user_id and item_id, no row twice.
        until: when it was read, seconds since 1970; None where that is not known.
    """

    pairs: pl.DataFrame
    until: float | None = None

    @classmethod
    def of(cls, catalogue: Catalogue, *, until: float | None = None) -> "Known":
        """What an artifact says of it."""
        users, items = pl.Series(catalogue.users.ids(), dtype=pl.String), pl.Series(catalogue.items.ids())
        histories = catalogue.histories
        pairs = {"user_id": users.gather(histories.owners()), "item_id": items.gather(np.array(histories.items))}
        return cls(pl.DataFrame(pairs), until)


def check_data(
    dataset: Dataset,
    last: Known | None,
    limits: DataLimits,
    *,
    now: float,
    begins: float | None = None,
    deleted: Collection[str] = (),
) -> list[Check]:
    """Every check that can be made of what is known; data is fit for training if all have passed.

    Args:
        dataset: what is to be trained on.
        last: what the last run was trained on; None leaves out what needs it.
        limits: what may be.
        now: seconds since 1970.
        begins: the time of the base data's first interaction, in the same way; None if there is none.
        deleted: users who were deleted: what is gone with them is no loss.
    """
    pairs = dataset.interactions.select(PAIR).unique()
    checks = [*_volume(pairs, limits), _duplicates(dataset, limits)]
    if dataset.info.order == "timestamp":
        checks += _times(dataset, limits, now=now, begins=begins)
    if last is None:
        return checks
    before = last.pairs.filter(~pl.col("user_id").is_in(list(deleted)))
    if before.is_empty():
        return checks
    checks += _compared(pairs, before, limits)
    if dataset.info.order == "timestamp" and last.until is not None:
        checks.append(_repeated(dataset, before, last.until, limits))
    return checks + _of_new(pairs, before, limits)


def js_distance(one: Float64 | Int64, other: Float64 | Int64) -> float:
    """The Jensen-Shannon distance [1] of two distributions over the same things, given by weights (m,): 0 to 1."""
    p, q = one / one.sum(), other / other.sum()
    middle = (p + q) / 2

    def divergence(share: Float64) -> float:
        there = share > 0
        return float((share[there] * np.log2(share[there] / middle[there])).sum())

    return float(np.sqrt(max((divergence(p) + divergence(q)) / 2, 0.0)))


def _volume(pairs: pl.DataFrame, limits: DataLimits) -> list[Check]:
    checks = []
    for what, rows in _sets(pairs).items():
        name, limit = f"least_{what}", getattr(limits, f"least_{what}")
        said = f"{len(rows):,} {what}; at least {limit:,} are needed"
        checks.append(Check(name, len(rows), limit, len(rows) >= limit, said))
    return checks


def _duplicates(dataset: Dataset, limits: DataLimits) -> Check:
    rows = dataset.interactions.select(*PAIR, "timestamp")
    share = 1 - rows.n_unique() / len(rows)
    said = f"{percent(share)} of the rows repeat another in user, item and time"
    return _at_most("duplicates", share, limits.duplicates, said)


def _times(dataset: Dataset, limits: DataLimits, *, now: float, begins: float | None) -> list[Check]:
    times = dataset.interactions["timestamp"].dt.epoch("us").to_numpy()
    future = float((times > 1e6 * now).mean())
    checks = [_at_most("future", future, limits.future, f"{percent(future)} of the rows have a time yet to come")]
    if begins is not None:
        early = float((times < 1e6 * begins).mean())
        said = f"{percent(early)} of the rows are from before the base data begins"
        checks.append(_at_most("early", early, limits.early, said))
    return checks


def _compared(pairs: pl.DataFrame, before: pl.DataFrame, limits: DataLimits) -> list[Check]:
    """All pairs beside the last run's."""
    now, then, checks = _sets(pairs), _sets(before), list[Check]()
    for what, old in then.items():
        lost = len(old.join(now[what], on=old.columns, how="anti")) / len(old)
        said = f"{percent(lost)} of the last run's {len(old):,} {what} are gone"
        checks.append(_at_most(f"lost_{what}", lost, getattr(limits, f"lost_{what}"), said))
    for what, old in then.items():
        name, grown = f"grown_{what}", len(now[what]) / len(old)
        limit = getattr(limits, name)
        said = f"{grown:,.2f} times as many {what} as in the last run; at most {limit:g} times as many may be"
        checks.append(Check(name, grown, limit, grown <= limit, said))
    drift = js_distance(*_popularity(before, pairs))
    said = f"the items' popularity is {drift:.3f} from the last run's (Jensen-Shannon, 0 to 1)"
    return [*checks, _distance("drift", drift, limits.drift, said)]


def _repeated(dataset: Dataset, before: pl.DataFrame, until: float, limits: DataLimits) -> Check:
    since = dataset.interactions.filter(pl.col("timestamp").dt.epoch("us") > 1e6 * until)
    share = len(before.join(since, on=PAIR, how="semi")) / len(before)
    said = f"{percent(share)} of the last run's interactions were taken up again since"
    return _at_most("repeated", share, limits.repeated, said)


def _of_new(pairs: pl.DataFrame, before: pl.DataFrame, limits: DataLimits) -> list[Check]:
    """Pairs that the last run did not have, on their own."""
    new = pairs.join(before, on=PAIR, how="anti")
    told = f"{len(new):,} interactions are new"
    if few := len(new) < limits.judged_count:
        drift = _not_judged("new_drift", limits.new_drift, told)
    else:
        value = _new_drift(before, new)
        said = f"{told}; their items' popularity is {value:.3f} from the last run's, chance aside (0 to 1)"
        drift = _distance("new_drift", value, limits.new_drift, said)
    few = few or len(new) < limits.judged_share * len(pairs)
    shares = []
    for name, column, whose in (("new_by_user", "user_id", "one user's"), ("new_on_item", "item_id", "with one item")):
        limit = getattr(limits, name)
        if few:
            shares.append(_not_judged(name, limit, told))
        else:
            most = int(new[column].value_counts()["count"].to_numpy().max()) / len(new)
            shares.append(_at_most(name, most, limit, f"{told}; {percent(most)} of them are {whose}"))
    return [drift, *shares]


def _new_drift(before: pl.DataFrame, new: pl.DataFrame) -> float:
    """See the module; not below 0."""
    old, now = _popularity(before, new)
    drawn = np.random.default_rng(0).multinomial(len(new), old / old.sum())
    chance = js_distance(old, drawn)
    return max((js_distance(old, now) - chance) / (1 - chance), 0.0)


def _popularity(*tables: pl.DataFrame) -> list[Int64]:
    """Pairs of each item in each table, (m,) each, over the items of all of them."""
    items = pl.concat([pairs.select("item_id") for pairs in tables]).unique().sort("item_id")
    counted = (
        items.join(pairs.group_by("item_id").len(), on="item_id", how="left", maintain_order="left") for pairs in tables
    )
    return [table["len"].fill_null(0).to_numpy().astype(np.int64) for table in counted]


def _sets(pairs: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {
        "interactions": pairs,
        "users": pairs.select("user_id").unique(),
        "items": pairs.select("item_id").unique(),
    }


def _at_most(name: str, share: float, limit: float, said: str) -> Check:
    return Check(name, share, limit, share <= limit, f"{said}; at most {percent(limit)} may be")


def _distance(name: str, distance: float, limit: float, said: str) -> Check:
    return Check(name, distance, limit, distance <= limit, f"{said}; at most {limit:g} may be")


def _not_judged(name: str, limit: float, told: str) -> Check:
    return Check(name, None, limit, True, f"{told}: too few to be judged on their own")


def percent(share: float) -> str:
    """A share for people, as exact as the limit that it may stand beside."""
    return f"{100 * share:.4g} %"
