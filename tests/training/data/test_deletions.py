from datetime import UTC, datetime

import polars as pl

from tests.conftest import deletions, planted
from training.data.deletions import without_deleted


def test_what_came_before_a_deletion_is_left_out() -> None:
    dataset = planted()
    times = dataset.interactions.filter(pl.col("user_id") == "u1")["timestamp"].sort()
    middle = times[len(times) // 2]
    assert isinstance(middle, datetime)
    kept = without_deleted(
        dataset, deletions({"u0": datetime(2100, 1, 1, tzinfo=UTC).timestamp(), "u1": middle.timestamp()})
    )
    assert kept.interactions.filter(pl.col("user_id") == "u0").is_empty()
    assert kept.interactions.filter(pl.col("user_id") == "u1")["timestamp"].min() > middle  # type: ignore[operator]
    others = pl.col("user_id").is_in(["u0", "u1"]).not_()
    assert kept.interactions.filter(others).equals(dataset.interactions.filter(others))
    assert kept.info.fingerprint != dataset.info.fingerprint


def test_without_times_all_of_a_deleted_user_goes() -> None:
    dataset = planted(presplit=True)
    kept = without_deleted(dataset, deletions({"u0": 0.0}))
    assert dataset.interactions["user_id"].n_unique() - kept.interactions["user_id"].n_unique() == 1
    assert kept.info.presplit


def test_nobody_deleted_changes_nothing() -> None:
    dataset = planted()
    assert without_deleted(dataset, {}) is dataset
    assert without_deleted(dataset, deletions({"stranger": 1e12})) is dataset
