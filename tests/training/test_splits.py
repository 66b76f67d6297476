import numpy as np
import polars as pl
import pytest

from model.errors import DataError
from tests.conftest import planted
from training.config import SplitConfig
from training.data.datasets import Dataset, make_dataset
from training.data.schema import TIMESTAMP
from training.splits import Split, make_split


def from_rows(rows: list[tuple[str, str, int]]) -> Dataset:
    interactions = pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row").with_columns(
        pl.col("timestamp").cast(TIMESTAMP)
    )
    ids = sorted(set(interactions["item_id"]))
    items = pl.DataFrame(
        {"item_id": ids, "title": ids, "year": [None] * len(ids), "categories": [[]] * len(ids)},
        schema={"item_id": pl.String, "title": pl.String, "year": pl.Int32, "categories": pl.List(pl.String)},
    )
    return make_dataset(interactions, items, name="rows", source="tests", terms=None, order="timestamp")


def named(split: Split, part: str) -> dict[str, list[str]]:
    histories = getattr(split, part)
    return {split.users.id(u): [split.items.id(int(i)) for i in histories[u]] for u in range(len(histories))}


def test_the_newest_of_every_user_is_held_out() -> None:
    rows = [("a", f"i{n:02}", 100 - n) for n in range(10)] + [("b", f"i{n:02}", n) for n in range(10)]
    split = make_split(from_rows(rows), SplitConfig(stop=0.25, test=0.2), seed=0)
    newest_first = [f"i{n:02}" for n in reversed(range(10))]
    assert named(split, "search") == {"a": newest_first[:6], "b": newest_first[::-1][:6]}
    assert named(split, "stop")["a"] == newest_first[6:8]
    assert named(split, "test")["b"] == ["i08", "i09"]
    assert named(split, "train")["b"] == named(split, "masked")["b"] == [f"i{n:02}" for n in range(8)]
    assert named(split, "served")["b"] == [f"i{n:02}" for n in range(10)]
    assert split.ordered


def test_by_time_one_moment_divides_everyone() -> None:
    rows = [("a", f"i{n}", n) for n in range(10)] + [("b", f"j{n}", 5 + n) for n in range(10)]
    split = make_split(from_rows(rows), SplitConfig(by="time", stop=0.2, test=0.25), seed=0)
    assert named(split, "test") == {"a": [], "b": [f"j{n}" for n in range(5, 10)]}
    assert named(split, "stop") == {"a": ["i8", "i9"], "b": ["j4"]}
    assert "i0" in named(split, "search")["a"]


def test_short_histories_stay_in_train() -> None:
    rows = [("a", f"i{n}", n) for n in range(20)] + [("b", "i1", 5), ("b", "i2", 6)]
    split = make_split(from_rows(rows), SplitConfig(), seed=0)
    assert named(split, "search")["b"] == ["i1", "i2"]
    assert named(split, "stop")["b"] == named(split, "test")["b"] == []


def test_a_history_of_three_gives_its_newest_to_the_test() -> None:
    rows = [("a", f"i{n}", n) for n in range(20)] + [("b", f"i{n}", n) for n in range(3)]
    split = make_split(from_rows(rows), SplitConfig(), seed=0)
    assert named(split, "test")["b"] == ["i2"]
    assert named(split, "search")["b"] == ["i0", "i1"]


def test_a_repeated_pair_counts_once_at_its_newest_place() -> None:
    rows = [("a", f"i{n}", n) for n in range(9)] + [("a", "i0", 50)]
    split = make_split(from_rows(rows), SplitConfig(test=0.2), seed=0)
    assert named(split, "test")["a"] == ["i8", "i0"]
    assert "i0" not in named(split, "train")["a"]


def test_data_with_its_own_parts_keeps_them_and_serves_train_alone() -> None:
    dataset = planted(presplit=True)
    split = make_split(dataset, SplitConfig(), seed=0)
    sizes = dict(dataset.interactions["part"].value_counts().iter_rows())
    assert len(split.train.items) == sizes["train"]
    assert len(split.test.items) == sizes["test"]
    assert len(split.masked.items) == sizes["train"] + sizes["valid"]
    assert named(split, "served") == named(split, "train")
    assert split.ordered


def test_without_an_order_the_split_is_random_within_users_and_repeatable() -> None:
    dataset = planted(ordered=False)
    splits = [make_split(dataset, SplitConfig(), seed=seed) for seed in (0, 0, 1)]
    assert not splits[0].ordered
    assert np.array_equal(splits[0].test.items, splits[1].test.items)
    assert not np.array_equal(splits[0].test.items, splits[2].test.items)
    assert (splits[0].test.lengths == np.floor(splits[0].served.lengths * 0.1 + 0.5)).all()


def test_the_parts_are_disjoint_and_complete(dataset: Dataset) -> None:
    split = make_split(dataset, SplitConfig(), seed=0)
    for user in range(len(split.users)):
        parts = [getattr(split, part)[user].tolist() for part in ("search", "stop", "test")]
        assert sorted(item for part in parts for item in part) == sorted(set(split.served[user].tolist()))
        assert parts[0] + parts[1] == split.train[user].tolist()


def test_an_empty_part_is_an_error_that_names_it() -> None:
    with pytest.raises(DataError, match=r"test part of rows is empty"):
        make_split(from_rows([("a", "i1", 1), ("a", "i2", 2)]), SplitConfig(), seed=0)
    with pytest.raises(DataError, match=r"stop part of rows is empty"):
        make_split(from_rows([("a", f"i{n}", n) for n in range(3)]), SplitConfig(), seed=0)
