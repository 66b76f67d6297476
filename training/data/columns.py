"""Columns: which of a file's columns are meant, and their values as ids, times and ratings."""

import re
from typing import Final

import polars as pl

from model.errors import DataError
from training.data.formats import Table
from training.data.schema import TIMESTAMP

__all__ = ["SPELLINGS", "as_id", "as_rating", "as_time", "pick_column"]

# Compared in lower case without anything but letters and digits; the first one present wins.
SPELLINGS: Final[dict[str, tuple[str, ...]]] = {
    "user": ("userid", "user", "uid", "userno", "customerid", "customer", "visitorid", "memberid"),
    "item": (
        *("itemid", "item", "iid", "itemno", "movieid", "movie", "productid", "product", "articleid"),
        *("article", "trackid", "songid", "bookid", "isbn", "parentasin", "asin", "sku"),
    ),
    "time": (
        *("timestamp", "time", "ts", "datetime", "eventtime", "unixtime", "unixreviewtime"),
        *("createdat", "date"),
    ),
    "rating": ("rating", "ratings", "stars"),
    "title": ("title", "movietitle", "name", "itemname", "productname", "itemtitle"),
    "year": ("year", "releaseyear", "releasedate", "published", "date"),
    "categories": ("categories", "category", "genres", "genre", "class", "tags"),
}

ISO_8601: Final = r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2}(?:\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"
FIRST_MICROSECOND: Final = -62_135_596_800_000_000  # year 1
LAST_MICROSECOND: Final = 253_402_300_799_999_999  # year 9999
ID_MAX_LENGTH: Final = 256


def pick_column(table: Table, meaning: str, named: str | None, option: str | None = None) -> str | None:
    """The column called `named`, or the first with a usual spelling of `meaning`, or None.

    Raises:
        DataError: `named` is not a column; the message lists those that are.
    """
    if named is not None:
        if named in table.columns:
            return named
        raise DataError(
            f"{table.name} has no column {named!r}; its columns are: {', '.join(table.columns)}",
            hint=f"pass one of them as {option}" if option else None,
        )
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(table.columns)}
    return next((plain[spelling] for spelling in SPELLINGS[meaning] if spelling in plain), None)


def as_id(table: Table, column: str) -> pl.Series:
    """Ids as String: whole floats lose their `.0` (a column with gaps becomes floats in some programs).

    Raises:
        DataError: the column holds lists, records or other things that are not an id.
    """
    values = table.frame[column]
    if values.dtype.is_float():
        whole = values.is_finite() & (values == values.floor()) & (values.abs() < 2**63)
        frame = pl.DataFrame({"v": values, "whole": whole})
        as_int = pl.col("v").cast(pl.Int64, strict=False).cast(pl.String)
        return frame.select(
            pl.when("whole").then(as_int).when(pl.col("v").is_not_nan()).then(pl.col("v").cast(pl.String))
        ).to_series()
    if values.dtype.is_nested() or values.dtype in (pl.Binary, pl.Boolean, pl.Object):
        raise DataError(f"{table.name}: column {column!r} is {values.dtype}, which cannot be an id")
    return values.cast(pl.String)


def bad_id(column: str) -> pl.Expr:
    """Too long, or with control characters."""
    return (pl.col(column).str.len_chars() > ID_MAX_LENGTH) | pl.col(column).str.contains(r"\p{Cc}")


def as_rating(table: Table, column: str) -> tuple[pl.Series, pl.Series]:
    """Ratings as Float32, and which values could not be read (missing ones are null and not counted)."""
    values = table.frame[column]
    check_scalar(table, column, "ratings")
    if values.dtype == pl.String:
        values = values.replace("", None)
    ratings = values.cast(pl.Float64, strict=False).cast(pl.Float32)
    unfit = (values.is_not_null() & ratings.is_null()) | ~ratings.is_finite().fill_null(True)
    return ratings.set(unfit, None), unfit


def as_time(table: Table, column: str) -> pl.Series:
    """Times as Datetime("us", "UTC"); null where one is missing or cannot be read.

    A column is numbers if most of its values are, else ISO 8601 (`2024-05-31`, `2024-05-31 18:30`,
    `2024-05-31T18:30:05.25+02:00`; UTC without an offset). Numbers count since 1970 in the unit that the
    median's magnitude says: below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else
    nanoseconds. The years are 1 to 9999.

    Raises:
        DataError: the column's dtype cannot be a time.
    """
    values = table.frame[column]
    check_scalar(table, column, "times")
    if values.dtype == pl.Date:
        return values.cast(TIMESTAMP)
    if isinstance(values.dtype, pl.Datetime):
        if values.dtype.time_zone is None:
            values = values.dt.replace_time_zone("UTC")
        return values.cast(TIMESTAMP)
    numbers = values.cast(pl.Float64, strict=False)
    if values.dtype.is_numeric() or numbers.count() * 2 > values.count():
        return unix_time(numbers)
    return iso_time(values)


def unix_time(numbers: pl.Series) -> pl.Series:
    numbers = numbers.set(~numbers.is_finite().fill_null(False), None)
    middle = numbers.abs().median()
    if not isinstance(middle, float):  # no number at all
        return pl.Series(numbers.name, [None] * len(numbers), dtype=TIMESTAMP)
    factor = next((f for bound, f in ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0)) if middle < bound), 1e-3)
    micros = (numbers * factor).round()
    possible = micros.is_between(FIRST_MICROSECOND, LAST_MICROSECOND).fill_null(False)
    return micros.set(~possible, None).cast(pl.Int64).cast(TIMESTAMP)


def iso_time(values: pl.Series) -> pl.Series:
    parts = pl.col("v").str.extract_groups(ISO_8601).struct
    day, minute, second, zone = (parts.field(str(i)) for i in (1, 2, 3, 4))
    offset = zone.replace("Z", "+00:00").fill_null("+00:00").str.replace(":", "", literal=True)
    text = pl.format("{}T{}{}{}", day, minute.fill_null("00:00"), second.fill_null(":00"), offset)
    parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", time_zone="UTC", strict=False)
    return pl.DataFrame({"v": values}).select(parsed).to_series()


def check_scalar(table: Table, column: str, meant: str) -> None:
    dtype = table.frame.schema[column]
    usual = dtype.is_numeric() or dtype in (pl.String, pl.Null)
    if not usual and not (meant == "times" and (dtype == pl.Date or isinstance(dtype, pl.Datetime))):
        raise DataError(f"{table.name}: column {column!r} is {dtype}, which cannot be {meant}")
