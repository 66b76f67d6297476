import datetime as dt
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ConfigError, DataError
from training.data.columns import as_time
from training.data.formats import LINE, Table
from training.data.importers import Imported, ImportOptions, import_dataset

ROWS: list[dict[str, object]] = [
    {"user": "u1", "item": "x", "rating": 4.5, "ts": 1_700_000_000},
    {"user": "u1", "item": "y", "rating": 2.0, "ts": 1_700_000_100},
    {"user": "u2", "item": "x", "rating": 5.0, "ts": 1_600_000_000},
]

Load = Callable[..., Imported]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a file and import it: `load("a.csv", "user,item,ts\\n...", max_bad=1)`."""

    def load(name: str, content: str | bytes, **options: Any) -> Imported:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return import_dataset(path, ImportOptions(**options))

    return load


def write_rows(path: Path) -> None:
    frame = pl.DataFrame(ROWS)
    match path.suffix:
        case ".csv":
            frame.write_csv(path)
        case ".gz":
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
        case ".tsv":
            frame.write_csv(path, separator="\t")
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in ROWS))
        case ".parquet":
            frame.write_parquet(path)
        case ".inter":
            typed = {"user": "user:token", "item": "item:token", "rating": "rating:float", "ts": "ts:float"}
            frame.rename(typed).write_csv(path, separator="\t")


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.parquet", "a.inter"])
def test_every_format_gives_the_same_data_set(name: str, tmp_path: Path) -> None:
    write_rows(tmp_path / name)
    dataset = import_dataset(tmp_path / name).dataset
    frame = dataset.interactions
    assert frame["user_id"].to_list() == ["u1", "u1", "u2"]  # the source's row order
    assert frame["rating"].to_list() == [4.5, 2.0, 5.0]
    assert frame["timestamp"].dt.epoch("s").to_list() == [1_700_000_000, 1_700_000_100, 1_600_000_000]
    assert dataset.items["item_id"].to_list() == ["x", "y"]
    assert (dataset.info.name, dataset.info.source, dataset.info.order) == ("a", name, "timestamp")
    write_rows(tmp_path / "reference.csv")
    assert dataset.info.fingerprint == import_dataset(tmp_path / "reference.csv").dataset.info.fingerprint


def test_bad_rows_are_named_with_the_line_of_the_file(load: Load) -> None:
    lines = [
        "user,item,ts,rating,note",  # line 1
        'a,x,1,5,"a quoted',
        'line break"',
        ",x,2,5,",  # 4
        "a,,3,5,",
        "a,y,soon,5,",
        "a,y,7,good,",
        "a,x,1,3,",  # 8
        "a,y,9,5,n,too,many",
        "a,y,10,5,",
        f"{'l' * 257},y,11,5,",  # 11
        "a\x07,y,11,5,",
        "",  # 13
        "a,x,14,,",
        "",
        "",
    ]
    imported = load("a.csv", "\n".join(lines), max_bad=1)
    assert imported.dataset.interactions["timestamp"].dt.epoch("s").to_list() == [1, 10, 14]
    assert imported.dataset.interactions["rating"].to_list() == [5, 5, None]
    assert imported.rows.bad == {
        "missing user id": 2,
        "missing item id": 1,
        "unparsable time": 1,
        "unparsable rating": 1,
        "duplicate": 1,
        "too many fields": 1,
        "unusable id": 2,
    }
    assert imported.rows.read == 12
    assert imported.rows.shown == (
        "line 4: missing user id",
        "line 5: missing item id",
        "line 6: unparsable time",
        "line 7: unparsable rating",
        "line 8: duplicate",
    )


def test_broken_json_lines_are_bad_rows(load: Load) -> None:
    text = (
        '{"user": 1, "item": "x", "ts": "2020-01-01"}\n\n{"user": 2,\n[1]\n"{"\nnull\n'
        '{"user": 2, "item": 7, "ts": "2020-01-02"}\n{"item": 7, "ts": "2020-01-02"}\n'
    )
    imported = load("a.jsonl", text, max_bad=1)
    assert imported.dataset.interactions.select("user_id", "item_id").rows() == [("1", "x"), ("2", "7")]
    assert imported.rows.bad == {"not a JSON object": 4, "missing user id": 1}
    assert imported.rows.shown[0] == "line 3: not a JSON object"
    assert imported.rows.shown[-1] == "line 8: missing user id"


@pytest.mark.parametrize(("bad", "kept"), [(1, True), (2, False)])
def test_the_limit_of_bad_rows_is_inclusive(bad: int, kept: bool, load: Load) -> None:
    text = "user,item,ts\n" + ",x,1\n" * bad + "".join(f"u,i{n},1\n" for n in range(1000 - bad))
    if kept:
        assert load("a.csv", text).rows.bad_count == bad
        return
    with pytest.raises(DataError, match=r"2 of 1,000 rows of a\.csv are bad \(0\.200%\): 2 missing user id") as e:
        load("a.csv", text)
    assert "line 2: missing user id" in e.value.message
    assert "--max-bad 0.002" in (e.value.hint or "")


def test_repeats_at_other_times_are_kept_and_exact_repeats_are_not(load: Load) -> None:
    text = "user,item,ts\nu,x,1\nu,x,2\nu,x,1\nv,x,1\n"
    imported = load("a.csv", text, max_bad=0.5)
    assert imported.dataset.interactions.height == 3
    assert imported.rows.shown == ("line 4: duplicate",)


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("", {}, "a.csv is empty"),
        ("user,item,ts\n", {}, "a.csv has no rows"),
        ("user,item,ts,user\na,b,1,c\n", {}, "a.csv: the header has column 'user' twice"),
        ("user,item,ts\na,b,1\n".encode("utf-16"), {}, "a.csv is in UTF-16"),
        ("user,item,ts\na,b\xff,1\n".encode("latin-1"), {}, "a.csv cannot be read.*utf-8"),
        ('user,item,ts\na,"b,1\n', {}, "a.csv cannot be read"),
        ("who,item,ts\na,b,1\n", {}, "looks like the user id; its columns are: who, item, ts"),
        ("user,what,ts\na,b,1\n", {}, "looks like the item id"),
        ("user,item\na,b\n", {}, "looks like a time"),
        ("user,item,ts\na,b,1\n", {"user_col": "wo"}, "no column 'wo'; its columns are: user, item, ts"),
        ("user,item,ts\na,b,1\n", {"time_col": "wo"}, "no column 'wo'"),
        ("user,item,ts\na,b,1\n", {"min_rating": 3}, "needs ratings"),
        ("user,item,ts,rating\na,b,1,2\n", {"min_rating": 3}, "none of 1 rows is left"),
        ("user,item,ts\n,b,1\n", {"max_bad": 1}, "none of 1 rows is left: 1 are bad"),
        ("junk", {"format": "parquet"}, "a.csv cannot be read"),
        ("junk", {"format": "jsonl"}, "no line that is a JSON object"),
        ("user,item\na,b\n", {"format": "recbole"}, "'user,item' of the header is not name:type"),
    ],
)
def test_a_source_that_cannot_be_used_is_named(
    content: str | bytes, options: dict[str, object], says: str, load: Load
) -> None:
    with pytest.raises(DataError, match=says):
        load("a.csv", content, **options)


def test_paths_without_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        import_dataset(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        import_dataset(tmp_path / "nothing.csv", ImportOptions(format="tsv"))
    with pytest.raises(DataError, match=r"has no ratings\.dat, ratings\.csv or u\.data"):
        import_dataset(tmp_path)
    (tmp_path / "a.xyz").write_text("user,item,ts\na,b,1\n")
    with pytest.raises(DataError, match="suffix does not say") as caught:
        import_dataset(tmp_path / "a.xyz")
    assert "--format csv|tsv" in (caught.value.hint or "")
    assert import_dataset(tmp_path / "a.xyz", ImportOptions(format="csv")).rows.read == 1


def test_an_item_file_without_rows_is_named(load: Load, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("item_id,title\n")
    with pytest.raises(DataError, match=r"i\.csv has no rows"):
        load("a.csv", "user,item,ts\nu,x,1\n", items=tmp_path / "i.csv")


def test_truncated_parquet_and_gzip_are_named(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv.gz"):
        write_rows(tmp_path / name)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-15])
        with pytest.raises(DataError, match=f"{name} cannot be read"):
            import_dataset(tmp_path / name)


def test_order_without_times(load: Load) -> None:
    text = "user,item\nu,x\nu,y\n"
    assert load("a.csv", text, no_time=True).dataset.info.order == "none"
    rows = load("a.csv", text, no_time=True, order="chronological").dataset
    assert rows.info.order == "row"
    assert rows.interactions["timestamp"].null_count() == 2
    timed = "user,item,ts\nu,x,5\n"
    assert load("a.csv", timed, no_time=True).dataset.interactions["timestamp"].null_count() == 1
    with pytest.raises(ConfigError, match="time column 'ts'"):
        load("a.csv", timed, order="chronological")
    with pytest.raises(ConfigError, match="contradict"):
        load("a.csv", timed, no_time=True, time_col="ts")


def test_min_rating_is_counted_apart_from_bad_rows(load: Load) -> None:
    imported = load("a.csv", "user,item,ts,rating\nu,x,1,3.7\nu,y,2,3.6\nu,z,3,\n", min_rating=3.7)
    assert imported.dataset.interactions["item_id"].to_list() == ["x"]
    assert (imported.below_min_rating, imported.rows.bad_count) == (2, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1_700_000_000, 1_700_000_001.5], ["2023-11-14T22:13:20", "2023-11-14T22:13:21.500000"]),
        ([1_700_000_000_250], ["2023-11-14T22:13:20.250000"]),
        ([1_700_000_000_250_001], ["2023-11-14T22:13:20.250001"]),
        ([0, -1], ["1970-01-01T00:00:00", "1969-12-31T23:59:59"]),
        (["2020-02-29", "2020-02-29T10:30"], ["2020-02-29T00:00:00", "2020-02-29T10:30:00"]),
        (["2020-02-29 10:30:05.25"], ["2020-02-29T10:30:05.250000"]),
        (
            ["2020-02-29T10:30:05Z", "2020-02-29T10:30:05+02:00", "2020-02-29T10:30:05-0130"],
            ["2020-02-29T10:30:05", "2020-02-29T08:30:05", "2020-02-29T12:00:05"],
        ),
        (["2021-02-29", "yesterday", "", None], [None] * 4),
        (["1700000000", "1700000000", "x"], ["2023-11-14T22:13:20"] * 2 + [None]),
        ([1.0, 1.0, float("nan"), float("inf"), 1e30], ["1970-01-01T00:00:01"] * 2 + [None] * 3),
        ([dt.date(2020, 1, 2)], ["2020-01-02T00:00:00"]),
        ([dt.datetime(2020, 1, 2, 3)], ["2020-01-02T03:00:00"]),
    ],
)
def test_times(values: list[object], expected: list[str | None]) -> None:
    frame = pl.DataFrame({"t": pl.Series(values, strict=False), LINE: range(len(values))})
    times = as_time(Table("t", frame, {}), "t")
    assert times.dtype == pl.Datetime("us", "UTC")
    utc = [time and time.replace(tzinfo=None).isoformat() for time in times.to_list()]
    assert utc == expected


@given(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1)), st.sampled_from([1, 10**3, 10**6]))
def test_the_unit_of_unix_times_follows_from_their_size(moment: dt.datetime, per_second: int) -> None:
    whole = moment.replace(microsecond=0, tzinfo=dt.UTC)
    frame = pl.DataFrame({"t": [int(whole.timestamp()) * per_second], LINE: [1]})
    assert as_time(Table("t", frame, {}), "t").to_list() == [whole]


def test_ids_keep_their_spelling(load: Load, tmp_path: Path) -> None:
    rows = load("a.csv", "uid,movieId,time\n007, x ,1\n1.0,x,1\nNA,null,1\n").dataset.interactions
    assert rows.select("user_id", "item_id").rows() == [("007", " x "), ("1.0", "x"), ("NA", "null")]
    gaps = pl.DataFrame({"user": [1.0, 2.5, None], "item": [2**53, 1, 1], "ts": [1, 1, 1]})
    gaps.write_parquet(tmp_path / "a.parquet")
    imported = import_dataset(tmp_path / "a.parquet", ImportOptions(max_bad=1))
    assert imported.dataset.interactions["user_id"].to_list() == ["1", "2.5"]
    assert imported.dataset.interactions["item_id"][0] == "9007199254740992"
    assert imported.rows.shown == ("row 3: missing user id",)


def test_a_parquet_column_that_cannot_be_an_id_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"user": [["a"]], "item": ["x"], "ts": [1], "part": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="'user' is List"):
        import_dataset(tmp_path / "a.parquet")
    rows = import_dataset(tmp_path / "a.parquet", ImportOptions(user_col="part")).dataset.interactions
    assert rows.columns == ["user_id", "item_id", "timestamp"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("i.csv", 'movieId,name,releaseYear,genres\nx,"A, B",1999,Drama|War||Drama\nn,,junk,\n'),
        (
            "i.jsonl",
            '{"item_id": "x", "title": "A, B", "year": 1999, "categories": ["Drama", "War", "Drama"]}\n'
            '{"item_id": "n", "title": "", "year": null, "categories": null}\n',
        ),
        (
            "i.item",
            "item_id:token\ttitle:token_seq\tyear:token\tclass:token_seq\nx\tA, B\t1999\tDrama War\nn\t\tV\t\n",
        ),
    ],
)
def test_item_files(name: str, content: str, load: Load, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    items = load("a.csv", "user,item,ts\nu,x,1\nu,w,2\n", items=tmp_path / name).dataset.items
    assert items.rows() == [
        ("n", None, None, []),  # never interacted with
        ("w", None, None, []),  # not in the item file
        ("x", "A, B", 1999, ["Drama", "War"]),
    ]


def test_bad_items_are_counted_and_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("id,title\nx,A\nx,B\n,C\n")
    with pytest.raises(DataError, match=r"2 of 3 rows of i\.csv are bad") as caught:
        load("a.csv", "user,item,ts\nu,x,1\n", items=tmp_path / "i.csv")
    assert "line 3: duplicate item\n  line 4: missing item id" in caught.value.message
    imported = load("a.csv", "user,item,ts\nu,x,1\n", items=tmp_path / "i.csv", max_bad=1)
    assert imported.dataset.items["title"].to_list() == ["A"]
    (tmp_path / "i.csv").write_text("name\nx\n")
    with pytest.raises(DataError, match=r"i\.csv: no column holds item ids"):
        load("a.csv", "user,item,ts\nu,x,1\n", items=tmp_path / "i.csv")


def test_recbole_picks_up_the_item_file_beside_it(load: Load, tmp_path: Path) -> None:
    (tmp_path / "a.item").write_text('item_id:token\tmovie_title:token_seq\nx\tA "quoted" title\n')
    imported = load("a.inter", "user_id:token\titem_id:token\ttimestamp:float\nu\tx\t1.0\n")
    assert imported.dataset.items["title"].to_list() == ['A "quoted" title']
    assert import_dataset(tmp_path).dataset.info.fingerprint == imported.dataset.info.fingerprint


def save_parts(path: Path, **changes: Any) -> None:
    parts = {
        "train": np.array([[0, 5], [0, 3], [1, 5]], np.int32),
        "valid": np.array([[0, 4]], np.uint8),
        "test": np.zeros((0, 2), np.int64),
    }
    parts.update(changes)
    arrays: dict[str, Any] = {name: array for name, array in parts.items() if array is not None}
    np.savez(path, **arrays)


def test_npz_keeps_its_split_and_its_row_order(tmp_path: Path) -> None:
    save_parts(tmp_path / "p.npz")
    dataset = import_dataset(tmp_path / "p.npz").dataset
    assert dataset.interactions.select("user_id", "item_id", "part").rows() == [
        ("0", "5", "train"),
        ("0", "3", "train"),
        ("1", "5", "train"),
        ("0", "4", "valid"),
    ]
    assert (dataset.info.presplit, dataset.info.order) == (True, "none")
    ordered = import_dataset(tmp_path / "p.npz", ImportOptions(order="chronological")).dataset
    assert (ordered.info.presplit, ordered.info.order) == (True, "row")


def test_npz_pairs_that_two_parts_share_are_duplicates(tmp_path: Path) -> None:
    save_parts(tmp_path / "p.npz", test=np.array([[2, 2], [0, 3]]))
    with pytest.raises(DataError, match=r"test\[1\]: duplicate"):
        import_dataset(tmp_path / "p.npz")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"test": None}, "no array 'test'; it has: train, valid"),
        ({"train": np.zeros((3, 3), int)}, r"'train' has shape \(3, 3\)"),
        ({"test": np.zeros(4, int)}, r"'test' has shape \(4,\)"),
        ({"test": np.zeros((1, 2))}, "'test' has dtype float64"),
        ({"train": np.array([[0, -7]])}, "'train' has a negative id, -7"),
        ({"train": np.array([[0, {}]], object)}, "p.npz cannot be read"),
        ({"train": np.zeros((0, 2), int), "valid": np.zeros((0, 2), int)}, "p.npz has no rows"),
    ],
)
def test_npz_that_does_not_fit_is_named(changes: dict[str, Any], says: str, tmp_path: Path) -> None:
    save_parts(tmp_path / "p.npz", **changes)
    with pytest.raises(DataError, match=says):
        import_dataset(tmp_path / "p.npz")


def test_a_damaged_npz_is_named(tmp_path: Path) -> None:
    save_parts(tmp_path / "p.npz")
    whole = (tmp_path / "p.npz").read_bytes()
    for damaged in (b"junk", whole[: len(whole) // 2], whole[:60] + b"\xff" * 120 + whole[180:]):
        (tmp_path / "p.npz").write_bytes(damaged)
        with pytest.raises(DataError, match=r"p\.npz"):
            import_dataset(tmp_path / "p.npz")


def test_options_are_all_documented() -> None:
    assert all(field.description for field in ImportOptions.model_fields.values())


@pytest.mark.parametrize("order", ["none", "chronological"])
def test_a_pair_that_stands_twice_in_a_part_counts_at_its_newest_place(tmp_path: Path, order: str) -> None:
    save_parts(tmp_path / "p.npz", train=np.array([[0, 1], [0, 2], [0, 1], [0, 3]]), test=np.array([[0, 2], [0, 9]]))
    options = ImportOptions.model_validate({"order": order, "max_bad": 1.0})
    made = import_dataset(tmp_path / "p.npz", options).dataset.interactions
    assert made.filter(pl.col("part") == "train")["item_id"].to_list() == ["2", "1", "3"]
    assert made.filter(pl.col("part") == "test")["item_id"].to_list() == ["9"]
