import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import DataError
from training.data.datasets import (
    Dataset,
    DatasetInfo,
    Order,
    fingerprint,
    make_dataset,
    read_dataset,
    store_dataset,
    summarise,
    write_dataset,
)
from training.data.schema import TIMESTAMP


def items_of(ids: list[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": [None] * len(ids),
            "year": [None] * len(ids),
            "categories": [["a", "b"] if i % 2 else [] for i in range(len(ids))],
        },
        schema={"item_id": pl.String, "title": pl.String, "year": pl.Int32, "categories": pl.List(pl.String)},
    )


def dataset_of(
    pairs: list[tuple[str, str]],
    *,
    seconds: list[int] | None = None,
    parts: list[str] | None = None,
    order: Order = "none",
    catalogue: list[str] | None = None,
) -> Dataset:
    times = None if seconds is None else [dt.datetime.fromtimestamp(s, dt.UTC) for s in seconds]
    frame = pl.DataFrame(
        {
            "user_id": [user for user, _ in pairs],
            "item_id": [item for _, item in pairs],
            "timestamp": pl.Series(times or [None] * len(pairs), dtype=TIMESTAMP),
        }
    )
    if parts is not None:
        frame = frame.with_columns(pl.Series("part", parts))
    ids = catalogue or sorted({item for _, item in pairs})
    return make_dataset(
        frame,
        items_of(ids),
        name="tiny",
        source="tiny.csv",
        terms=None,
        order="timestamp" if seconds else order,
    )


PAIRS = [("u", "x"), ("u", "y"), ("v", "x"), ("u", "z")]


@pytest.mark.parametrize(
    "dataset",
    [
        dataset_of(PAIRS, seconds=[4, 3, 2, 1]),
        dataset_of(PAIRS, parts=["train", "train", "valid", "test"], order="row"),
        dataset_of(PAIRS, catalogue=["never", "x", "y", "z"]),
    ],
    ids=["timed", "presplit", "untouched item"],
)
def test_what_is_written_is_read_back(dataset: Dataset, tmp_path: Path) -> None:
    write_dataset(dataset, tmp_path / "new" / "folder")
    back = read_dataset(tmp_path / "new" / "folder")
    assert back.interactions.equals(dataset.interactions)
    assert back.interactions.schema == dataset.interactions.schema
    assert back.items.equals(dataset.items)
    assert back.info == dataset.info
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "dataset.json",
        "interactions.parquet",
        "items.parquet",
    ]


@pytest.mark.parametrize("name", ["dataset.json", "interactions.parquet", "items.parquet"])
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_missing_or_damaged_file_is_named(name: str, damage: str, tmp_path: Path) -> None:
    write_dataset(dataset_of(PAIRS), tmp_path)
    if damage == "missing":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
    with pytest.raises(DataError, match=name) as caught:
        read_dataset(tmp_path)
    assert caught.value.hint


def test_tables_of_another_data_set_are_noticed(tmp_path: Path) -> None:
    write_dataset(dataset_of(PAIRS), tmp_path / "a")
    write_dataset(dataset_of(PAIRS[::-1]), tmp_path / "b")
    (tmp_path / "b" / "interactions.parquet").replace(tmp_path / "a" / "interactions.parquet")
    with pytest.raises(DataError, match="fingerprints differ"):
        read_dataset(tmp_path / "a")


def test_another_schema_version_and_unknown_fields_are_refused(tmp_path: Path) -> None:
    write_dataset(dataset_of(PAIRS), tmp_path)
    stored = (tmp_path / "dataset.json").read_text()
    (tmp_path / "dataset.json").write_text(stored.replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(DataError, match="schema_version"):
        read_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text(stored.replace('"name"', '"nome": "x", "name"'))
    with pytest.raises(DataError, match="nome"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (pl.col("item_id").replace("x", "unlisted"), "no row for 1 items of interactions, e.g. 'unlisted'"),
        (pl.lit(None, pl.String).alias("user_id"), "user_id has missing values"),
        (pl.lit("now").alias("timestamp"), "timestamp is String"),
        (pl.lit("train").alias("part"), "presplit is False"),
        (pl.lit(1).alias("weight"), "unknown column 'weight'"),
        (pl.lit(dt.datetime(2020, 1, 1), TIMESTAMP).alias("timestamp"), "order is 'none'"),
    ],
)
def test_tables_that_break_the_layout_are_not_written(change: pl.Expr, fault: str, tmp_path: Path) -> None:
    good = dataset_of(PAIRS)
    broken = Dataset(good.interactions.with_columns(change), good.items, good.info)
    with pytest.raises(ValueError, match=fault):
        write_dataset(broken, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_is_pinned() -> None:
    """A change of this value makes stored data sets unreadable: it needs a new schema_version."""
    timed = dataset_of(PAIRS, seconds=[4, 3, 2, 1])
    assert timed.info.fingerprint == "b2b8a916d0e0213c29bb7b77559efa7c0f7175285928cb48c5786ab70b901226"


def test_the_fingerprint_ignores_storage_and_sees_every_value(tmp_path: Path) -> None:
    dataset = dataset_of(PAIRS, parts=["train", "train", "valid", "test"])
    frame, items = dataset.interactions, dataset.items
    taken = fingerprint(frame, items)
    frame.write_parquet(tmp_path / "p", compression="uncompressed", row_group_size=1)
    assert fingerprint(pl.read_parquet(tmp_path / "p").select(reversed(frame.columns)), items) == taken
    assert fingerprint(frame.reverse(), items) != taken
    assert fingerprint(frame.with_columns(part=pl.lit("train")), items) != taken
    assert fingerprint(frame, items.with_columns(year=pl.lit(0, pl.Int32))) != taken
    assert fingerprint(frame, items.with_columns(title=pl.lit(""))) != taken
    assert fingerprint(frame, items.with_columns(categories=pl.lit(["ab"], pl.List(pl.String)))) != taken


@given(st.lists(st.text(max_size=3), min_size=2, max_size=4))
def test_the_fingerprint_tells_where_one_string_ends(words: list[str]) -> None:
    moved = [words[0] + words[1][:1], words[1][1:], *words[2:]]
    frames = [items_of([str(i) for i in range(len(words))]).with_columns(title=pl.Series(w)) for w in (words, moved)]
    prints = {fingerprint(pl.DataFrame({"user_id": ["u"]}), frame) for frame in frames}
    assert len(prints) == (1 if words == moved else 2)


def test_storing_again_writes_nothing_and_storing_another_needs_force(tmp_path: Path) -> None:
    first, second = dataset_of(PAIRS), dataset_of(PAIRS[:2])
    assert store_dataset(first, tmp_path, force=False)
    before = (tmp_path / "dataset.json").stat().st_mtime_ns
    assert not store_dataset(first, tmp_path, force=False)
    assert (tmp_path / "dataset.json").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="another data set") as caught:
        store_dataset(second, tmp_path, force=False)
    assert "--force" in (caught.value.hint or "")
    assert read_dataset(tmp_path).info == first.info
    assert store_dataset(second, tmp_path, force=True)
    assert read_dataset(tmp_path).info == second.info


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write"):
        write_dataset(dataset_of(PAIRS), tmp_path / "file" / "below")


def test_every_field_of_the_info_is_documented() -> None:
    assert all(field.description for field in DatasetInfo.model_fields.values())


def test_summary_of_a_known_data_set() -> None:
    """Users u (3 rows, one of them a repeat) and v (1); item x has 3 of the 4 rows."""
    dataset = dataset_of(
        [("u", "x"), ("u", "x"), ("u", "y"), ("v", "x")], seconds=[40, 10, 30, 20], catalogue=["n", "x", "y"]
    )
    summary = summarise(dataset)
    assert (summary.users, summary.items, summary.catalogue, summary.interactions) == (2, 2, 3, 4)
    assert summary.density == 3 / 4
    assert summary.repeats == 1
    assert summary.history.model_dump() == {"min": 1, "median": 2.0, "mean": 2.0, "p95": 2.9, "max": 3}
    assert [(b.low, b.high, b.users) for b in summary.histogram] == [(1, 1, 1), (2, 3, 1)]
    assert summary.popularity.top_1_percent == summary.popularity.top_10_percent == 0.75
    assert summary.popularity.gini == pytest.approx(0.25)  # (1 * 3 - 1 * 1) / (2 * 4)
    assert (summary.first, summary.last) == (
        dt.datetime.fromtimestamp(10, dt.UTC),
        dt.datetime.fromtimestamp(40, dt.UTC),
    )
    assert (summary.parts, summary.mean_rating, summary.categories) == (None, None, 2)


def test_equally_popular_items_have_no_skew() -> None:
    summary = summarise(dataset_of([("u", str(i)) for i in range(200)], parts=["train"] * 199 + ["test"]))
    assert summary.popularity.gini == pytest.approx(0)
    assert summary.popularity.top_1_percent == pytest.approx(0.01)
    assert summary.popularity.top_10_percent == pytest.approx(0.1)
    assert summary.parts == {"train": 199, "valid": 0, "test": 1}
    assert summary.first is summary.last is None
