"""Importing: a file or folder of interactions becomes a Dataset, and its bad rows a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from model.errors import ConfigError, DataError
from training.data.badrows import RowReport, refuse_beyond, report_rows
from training.data.catalogue import ItemStyle, clean_items, complete_items
from training.data.columns import as_id, as_rating, as_time, bad_id, pick_column
from training.data.datasets import Dataset, Order, make_dataset
from training.data.formats import LINE, FileFormat, Table, detect_format, read_table
from training.data.schema import TIMESTAMP
from training.data.sources import Source, open_source

__all__ = ["ImportOptions", "Imported", "import_dataset"]

BAD_RATING: Final = "\0bad rating"
ROW: Final = "\0row"


class ImportOptions(BaseModel):
    """How to read a source; each default is right for a file with usual column names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: FileFormat | None = Field(default=None, description="format; by default the suffix says it")
    user_col: str | None = Field(default=None, description="column of user ids")
    item_col: str | None = Field(default=None, description="column of item ids")
    time_col: str | None = Field(default=None, description="column of times")
    rating_col: str | None = Field(default=None, description="column of ratings")
    no_time: bool = Field(default=False, description="read no times, even if there are any")
    order: Literal["none", "chronological"] = Field(
        default="none", description="whether rows without times stand in time order within each user"
    )
    items: Path | None = Field(default=None, description="file of items: csv, tsv, jsonl, parquet or .item")
    category_sep: str | None = Field(
        default=None,
        min_length=1,
        description="separator of categories; by default `|`, in `.item` files a space",
    )
    min_rating: float | None = Field(default=None, description="drop rows rated lower or not at all")
    max_bad: float = Field(default=0.001, ge=0, le=1, description="largest fraction of bad rows that is dropped")
    movielens_titles: bool = Field(default=False, description="titles as MovieLens writes them: trailing articles")
    name: str | None = Field(default=None, min_length=1, description="the data set's name; by default the file's stem")
    source: str | None = Field(default=None, min_length=1, description="where from; by default the file's name")
    terms: str | None = Field(default=None, description="licence or terms of the data")


@dataclass(frozen=True)
class Imported:
    """A data set and what became of its source.

    Attributes:
        columns: which column was read as user, item, time and rating.
        rows: the interactions' rows.
        item_rows: the item file's rows, or None without one.
        below_min_rating: good rows that `min_rating` dropped.
    """

    dataset: Dataset
    columns: dict[str, str]
    rows: RowReport
    item_rows: RowReport | None
    below_min_rating: int


def import_dataset(path: Path, options: ImportOptions | None = None) -> Imported:
    """Read, check and convert a source; nothing is written.

    Bad rows are those without a user or item id, with an id over 256 characters or with control
    characters, with a time or rating that cannot be read, with too many fields, or that repeat the user,
    item and time of an earlier row (in a pre-split file and without times: the user and item).

    Raises:
        DataError: the source cannot be read, lacks a column, has too many bad rows, or no row is left.
        ConfigError: options contradict each other or the source.
    """
    options = options or ImportOptions()
    source = open_source(path, options.format)
    table = source.interactions
    columns = map_columns(table, options, presplit=source.presplit)
    frame, rows = clean_rows(table, columns, presplit=source.presplit)
    refuse_beyond(rows, options.max_bad)
    below = 0
    if options.min_rating is not None:
        enough = (pl.col("rating") >= options.min_rating).fill_null(False)
        below = frame.select((~enough).sum()).item()
        frame = frame.filter(enough)
    if frame.is_empty():
        if not rows.read:
            raise DataError(f"{table.name} has no rows")
        raise DataError(
            f"{table.name}: none of {rows.read:,} rows is left: {rows.bad_count:,} are bad, {below:,} are "
            "rated below the minimum"
        )
    item_table, style = find_items(source, options)
    items, item_rows = None, None
    if item_table is not None:
        items, item_rows = clean_items(item_table, style, columns["item"])
        refuse_beyond(item_rows, options.max_bad)
    whole = path.resolve()
    dataset = make_dataset(
        frame,
        complete_items(items, frame),
        name=options.name or Path(whole.name.removesuffix(".gz")).stem,
        source=options.source or whole.name,
        terms=options.terms or source.terms,
        order=order_of(columns, options),
    )
    return Imported(dataset, columns, rows, item_rows, below)


def find_items(source: Source, options: ImportOptions) -> tuple[Table | None, ItemStyle]:
    """The item table: `options.items` before what lay beside the interactions."""
    table, separator, titles = source.items, source.style.separator, source.style.titles
    if options.items is not None:
        form = detect_format(options.items)
        table, separator = read_table(options.items, form), " " if form == "recbole" else "|"
    if options.movielens_titles:
        titles = "movielens"
    return table, ItemStyle(options.category_sep or separator, titles)


def map_columns(table: Table, options: ImportOptions, *, presplit: bool) -> dict[str, str]:
    """Which column is the user, item, time and rating; the last two may be absent."""
    if options.no_time and options.time_col is not None:
        raise ConfigError("--time-col and --no-time contradict each other", hint="pass one of them")
    columns = {}
    for meaning, named in (("user", options.user_col), ("item", options.item_col)):
        column = pick_column(table, meaning, named, f"--{meaning}-col")
        if column is None:
            raise DataError(
                f"{table.name}: no column looks like the {meaning} id; its columns are: {', '.join(table.columns)}",
                hint=f"name it with --{meaning}-col NAME",
            )
        columns[meaning] = column
    time = None if options.no_time else pick_column(table, "time", options.time_col, "--time-col")
    if time is not None:
        columns["time"] = time
        if options.order == "chronological":
            raise ConfigError(
                f"--order chronological is for rows without times; {table.name} has the time column {time!r}",
                hint="leave --order out, or pass --no-time",
            )
    elif not (options.no_time or presplit):
        raise DataError(
            f"{table.name}: no column looks like a time; its columns are: {', '.join(table.columns)}",
            hint="name it with --time-col NAME, or pass --no-time (and --order chronological if the rows "
            "stand in time order within each user)",
        )
    rating = pick_column(table, "rating", options.rating_col, "--rating-col")
    if rating is not None:
        columns["rating"] = rating
    elif options.min_rating is not None:
        raise DataError(
            f"{table.name}: --min-rating needs ratings; its columns are: {', '.join(table.columns)}",
            hint="name their column with --rating-col NAME",
        )
    return columns


def order_of(columns: dict[str, str], options: ImportOptions) -> Order:
    if "time" in columns:
        return "timestamp"
    return "row" if options.order == "chronological" else "none"


def clean_rows(table: Table, columns: dict[str, str], *, presplit: bool) -> tuple[pl.DataFrame, RowReport]:
    """The good rows, with the canonical columns, and a report on the others."""
    height = table.frame.height
    values = {
        LINE: table.frame[LINE],
        "user_id": as_id(table, columns["user"]),
        "item_id": as_id(table, columns["item"]),
        "timestamp": pl.Series([None] * height, dtype=TIMESTAMP),
        BAD_RATING: pl.Series([False] * height, dtype=pl.Boolean),
    }
    if "time" in columns:
        values["timestamp"] = as_time(table, columns["time"])
    if "rating" in columns:
        values["rating"], values[BAD_RATING] = as_rating(table, columns["rating"])
    if presplit:
        values["part"] = table.frame["part"]
    frame = pl.DataFrame(values).with_columns(first_fault(timed="time" in columns).alias("reason"))
    bad = frame.filter(pl.col("reason").is_not_null())
    good = frame.filter(pl.col("reason").is_null())
    kept = _once(good, timed="time" in columns, presplit=presplit)
    repeated = good.filter(~kept).with_columns(pl.lit("duplicate").alias("reason"))
    report = report_rows(table, pl.concat([bad, repeated]))
    return good.filter(kept).drop(LINE, BAD_RATING, "reason"), report


def _once(rows: pl.DataFrame, *, timed: bool, presplit: bool) -> pl.Series:
    """Which rows to keep, so that no user has an item twice at the same time or, in rows without times, at all.

    Rows without times may stand in time order, where the newest of a pair says when it was taken up last. But what
    stands in `train` of a split is learned from, wherever else it stands.
    """
    pair = ("user_id", "item_id", "timestamp")
    numbered = rows.with_row_index(ROW)
    within = pl.struct(*pair, *(["part"] if presplit else []))
    kept = numbered.filter(within.is_first_distinct() if timed else within.is_last_distinct())
    kept = kept.filter(pl.struct(*pair).is_first_distinct())
    return numbered[ROW].is_in(kept[ROW].implode())


def first_fault(*, timed: bool) -> pl.Expr:
    """The reason why a row is bad, or null."""

    def missing(column: str) -> pl.Expr:
        return pl.col(column).is_null() | (pl.col(column) == "")

    faults = [
        ("missing user id", missing("user_id")),
        ("missing item id", missing("item_id")),
        ("unusable id", bad_id("user_id") | bad_id("item_id")),
        ("unparsable time", pl.col("timestamp").is_null() & timed),
        ("unparsable rating", pl.col(BAD_RATING)),
    ]
    return pl.coalesce([pl.when(fault).then(pl.lit(reason)) for reason, fault in faults])
