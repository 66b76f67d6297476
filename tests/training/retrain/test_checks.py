"""Ratings that come day by day pass; files and floods that are not what they should be do not."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from tests.training.retrain.conftest import catalogue_of
from training.config import SplitConfig
from training.data.catalogue import complete_items
from training.data.datasets import Dataset, Order, make_dataset
from training.data.schema import TIMESTAMP
from training.retrain.checks import Check, Known, check_data, js_distance
from training.retrain.limits import DataLimits
from training.splits import make_split

DAY = 86_400
START = 874_724_710
DAYS, USERS, ITEMS, SITTINGS = 60, 500, 800, (1, 4)
FIRST = 20  # of the days that are checked


def ratings() -> pl.DataFrame:
    """Like MovieLens 100K: users come and rate many items in a sitting or a few, by Zipf's law, and go."""
    generator = np.random.default_rng(0)
    weights = 1 / (np.arange(ITEMS) + 5.0)
    rows = []
    for user in range(USERS):
        n = int(np.clip(generator.lognormal(3.8, 0.9), 15, 350))
        items = generator.choice(ITEMS, n, replace=False, p=weights / weights.sum())
        day = float(generator.integers(DAYS))
        for sitting in np.array_split(items, int(generator.integers(*SITTINGS))):
            seconds = START + DAY * day + generator.integers(0, DAY // 2, len(sitting))
            rows += [(f"u{user}", f"i{item}", int(second)) for item, second in zip(sitting, seconds, strict=True)]
            day += generator.exponential(3)
    table = pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row").sort("timestamp")
    return table.filter(pl.col("timestamp") < START + DAYS * DAY)


RATINGS = ratings()


def until(day: int) -> pl.DataFrame:
    return RATINGS.filter(pl.col("timestamp") < START + day * DAY)


def data_of(rows: pl.DataFrame, order: Order = "timestamp") -> Dataset:
    seconds = 1_000_000 * pl.col("timestamp").cast(pl.Int64)
    frame = rows.with_columns(timestamp=(seconds if order == "timestamp" else pl.lit(None)).cast(TIMESTAMP))
    return make_dataset(frame, complete_items(None, frame), name="night", source="tests", terms=None, order=order)


def known(rows: pl.DataFrame, *, at: int | None = None) -> Known:
    return Known(rows.select("user_id", "item_id").unique(), None if at is None else START + at * DAY)


LAST, TONIGHT = until(40), until(41)
NOW = START + 41 * DAY


def failed(rows: pl.DataFrame, last: pl.DataFrame = LAST, **others: object) -> set[str]:
    checks = check_data(
        data_of(rows),
        known(last, at=40),
        DataLimits(),
        now=NOW,
        begins=START,
        **others,  # type: ignore[arg-type]
    )
    assert {check.name for check in checks} == set(DataLimits.model_fields) - {"judged_count", "judged_share"}
    return {check.name for check in checks if not check.passed}


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_ratings_pass_day_by_day() -> None:
    assert len(until(FIRST)) > 5000
    for yesterday, today in pairwise(range(FIRST, DAYS + 1)):
        last = known(until(yesterday), at=yesterday)
        checks = check_data(data_of(until(today)), last, DataLimits(), now=START + today * DAY, begins=START)
        assert [check.sentence for check in checks if not check.passed] == []


def test_the_same_data_again_passes_and_has_not_moved() -> None:
    checks = by_name(check_data(data_of(LAST), known(LAST, at=40), DataLimits(), now=NOW, begins=START))
    assert all(check.passed for check in checks.values())
    assert checks["drift"].value == checks["lost_interactions"].value == 0
    assert checks["grown_users"].value == 1
    assert checks["new_drift"].value is None
    assert checks["new_drift"].sentence == "0 interactions are new: too few to be judged on their own"


def robots(rows: list[tuple[str, str]]) -> pl.DataFrame:
    table = pl.DataFrame(rows, ["user_id", "item_id"], orient="row").with_columns(timestamp=pl.lit(NOW - 10))
    return pl.concat([TONIGHT, table.cast({"timestamp": pl.Int64})])


def test_a_flood_by_one_user_fails() -> None:
    assert {"new_by_user", "new_drift"} <= failed(robots([("robot", f"made up {n}") for n in range(3000)]))


def test_a_flood_on_one_item_fails() -> None:
    assert "new_on_item" in failed(robots([(f"robot {n}", "i700") for n in range(400)]))


def test_a_flood_of_users_fails() -> None:
    generator = np.random.default_rng(0)
    crowd = [(f"robot {n // 20}", f"i{item}") for n, item in enumerate(generator.integers(0, ITEMS, 60_000).tolist())]
    assert {"grown_interactions", "grown_users"} <= failed(robots(crowd))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_a_truncated_file_fails(share: float) -> None:
    by_user = TONIGHT.sort("user_id")
    assert {"lost_interactions", "lost_users"} <= failed(by_user.head(int(share * len(by_user))))
    assert "lost_interactions" in failed(TONIGHT.head(int(share * len(TONIGHT))))


def test_a_file_read_twice_fails() -> None:
    assert failed(pl.concat([TONIGHT, TONIGHT])) == {"duplicates"}


def test_a_file_sent_again_as_events_of_today_fails() -> None:
    assert failed(TONIGHT.with_columns(timestamp=pl.lit(NOW - 10))) == {"repeated"}


@pytest.mark.parametrize("column", ["user_id", "item_id"])
def test_a_shuffled_column_of_ids_fails(column: str) -> None:
    shuffled = TONIGHT.with_columns(pl.col(column).shuffle(seed=1))
    assert "lost_interactions" in failed(shuffled)


def renamed(rows: pl.DataFrame) -> pl.DataFrame:
    """With the items' ids given to others."""
    order = np.random.default_rng(1).permutation(ITEMS)
    return rows.with_columns(pl.col("item_id").replace({f"i{n}": f"i{m}" for n, m in enumerate(order.tolist())}))


def test_ids_given_to_others_fail() -> None:
    assert {"drift", "lost_interactions"} <= failed(renamed(TONIGHT))


def test_ids_given_to_others_in_what_is_new_alone_fail() -> None:
    week = until(47)
    new = week.filter(pl.col("timestamp") >= START + 40 * DAY)
    checks = check_data(data_of(pl.concat([LAST, renamed(new)])), known(LAST), DataLimits(), now=NOW + 7 * DAY)
    assert {check.name for check in checks if not check.passed} == {"new_drift"}


def test_times_yet_to_come_and_of_before_the_beginning_fail() -> None:
    some = pl.int_range(pl.len()) % 100 == 0
    for wrong, name in ((1000 * pl.col("timestamp"), "future"), (pl.col("timestamp") // 1000, "early")):
        rows = TONIGHT.with_columns(pl.when(some).then(wrong).otherwise("timestamp").alias("timestamp"))
        assert name in failed(rows)


def test_little_data_fails() -> None:
    assert {"least_interactions", "least_users"} <= failed(TONIGHT.head(300))
    few = by_name(check_data(data_of(TONIGHT.head(300)), None, DataLimits(), now=NOW))["least_interactions"]
    assert few.sentence == "300 interactions; at least 1,000 are needed"


def test_what_deleted_users_had_is_no_loss() -> None:
    gone = LAST["user_id"].unique().sort()[: LAST["user_id"].n_unique() // 2].to_list()
    left = TONIGHT.filter(~pl.col("user_id").is_in(gone))
    assert {"lost_interactions", "lost_users"} <= failed(left)
    assert failed(left, deleted=gone) == set()


def test_a_first_run_is_looked_at_on_its_own() -> None:
    checks = check_data(data_of(TONIGHT), None, DataLimits(), now=NOW)
    assert all(check.passed for check in checks)
    assert [check.name for check in checks] == [
        "least_interactions", "least_users", "least_items", "duplicates", "future"
    ]  # fmt: skip
    everyone = LAST["user_id"].unique().to_list()
    assert check_data(data_of(TONIGHT), known(LAST), DataLimits(), now=NOW, deleted=everyone) == checks


def test_without_times_none_are_looked_at() -> None:
    checks = by_name(check_data(data_of(TONIGHT, "row"), known(LAST, at=40), DataLimits(), now=NOW, begins=START))
    assert not {"future", "early", "repeated"} & set(checks)
    assert all(check.passed for check in checks.values())


def test_an_artifact_tells_what_it_was_trained_on() -> None:
    data = data_of(pl.concat([TONIGHT, TONIGHT.head(100)]))
    told = Known.of(catalogue_of(make_split(data, SplitConfig(), seed=0)), until=5.0)
    assert told.pairs.sort(pl.all()).equals(known(TONIGHT).pairs.sort(pl.all()))
    assert told.until == 5.0


def test_js_distance_by_hand() -> None:
    assert js_distance(np.array([1, 3]), np.array([2, 6])) == 0
    assert js_distance(np.array([1, 0]), np.array([0, 5])) == pytest.approx(1)
    m, p = np.array([3 / 4, 1 / 4]), np.array([1 / 2, 1 / 2])
    expected = (np.log2(1 / m[0]) + (p * np.log2(p / m)).sum()) / 2
    assert js_distance(np.array([1, 0]), np.array([1, 1])) == pytest.approx(np.sqrt(expected))
