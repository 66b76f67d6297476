"""Sources: which tables a path holds, and how they are to be read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from model.errors import DataError
from training.data.catalogue import ItemStyle
from training.data.formats import (
    LINE,
    FileFormat,
    Table,
    detect_format,
    read_delimited,
    read_double_colon,
    read_pairs,
    read_recbole,
    read_table,
)

__all__ = ["GROUPLENS_TERMS", "Source", "open_source"]

GROUPLENS_TERMS: Final = (
    "MovieLens data, made available by GroupLens Research at the University of Minnesota for research use. "
    "It may not be redistributed, or used commercially, without GroupLens' permission, and publications "
    "that use it cite F. M. Harper and J. A. Konstan, The MovieLens Datasets: History and Context, 2015. "
    "The full terms are in the README that GroupLens publishes with the data."
)

RATING_COLUMNS: Final = ["user_id", "item_id", "rating", "timestamp"]
GENRES_100K: Final = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary"),
    *("Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller"),
    *("War", "Western"),
)


@dataclass(frozen=True)
class Source:
    """The tables of a path.

    Attributes:
        interactions: with a column `part` if `presplit`.
        items: the item table found beside it, or None.
        style: how `items` writes its values.
        presplit: whether the interactions come split.
        terms: terms of the data, where the format tells them.
    """

    interactions: Table
    items: Table | None = None
    style: ItemStyle = field(default_factory=ItemStyle)
    presplit: bool = False
    terms: str | None = None


def open_source(path: Path, form: FileFormat | None = None) -> Source:
    """Read what `path` holds; without `form` its name says the format.

    Raises:
        DataError: nothing is there, or it cannot be read as that format; the message names the file.
    """
    form = form or detect_format(path)
    if not path.exists():
        raise DataError(f"{path} does not exist", hint="check the path")
    if path.is_dir() and form not in ("movielens", "recbole"):
        raise DataError(f"{path} is a folder, expected a {form} file")
    if form == "movielens":
        return open_movielens(path if path.is_dir() else path.parent)
    if form == "recbole":
        return open_recbole(path)
    if form == "npz":
        return open_pairs(path)
    return Source(read_table(path, form))


def open_recbole(path: Path) -> Source:
    """A `.inter` file, or the only one of a folder, and the `.item` file of the same name beside it."""
    if path.is_dir():
        found = sorted(path.glob("*.inter"))
        if len(found) != 1:
            names = ", ".join(file.name for file in found) or "none"
            raise DataError(f"{path} has not one .inter file; found: {names}", hint="name the file")
        path = found[0]
    beside = path.with_suffix(".item")
    items = read_recbole(beside) if beside.is_file() and beside != path else None
    return Source(read_recbole(path), items, ItemStyle(separator=" "))


def open_pairs(path: Path) -> Source:
    parts = [
        pl.DataFrame(
            {
                LINE: np.arange(len(pairs)),
                "part": np.full(len(pairs), part),
                "user_id": pairs[:, 0],
                "item_id": pairs[:, 1],
            },
            schema_overrides={LINE: pl.Int64},
        ).with_columns(pl.col("user_id", "item_id").cast(pl.String), pl.col("part").cast(pl.String))
        for part, pairs in read_pairs(path).items()
    ]
    return Source(Table(path.name, pl.concat(parts), {}, unit="row"), presplit=True)


def open_movielens(folder: Path) -> Source:
    """A folder of MovieLens 1M or 10M (`.dat`), 20M and later (`.csv`), or 100K (`u.data`, `u.item`)."""
    style = ItemStyle(titles="movielens")
    items: Table | None = None
    if (folder / "ratings.dat").is_file():
        ratings = read_double_colon(folder / "ratings.dat", RATING_COLUMNS)
        if (folder / "movies.dat").is_file():
            items = read_double_colon(folder / "movies.dat", ["item_id", "title", "genres"])
    elif (folder / "ratings.csv").is_file():
        ratings = read_delimited(folder / "ratings.csv")
        if (folder / "movies.csv").is_file():
            items = read_delimited(folder / "movies.csv")
    elif (folder / "u.data").is_file():
        ratings = read_delimited(folder / "u.data", separator="\t", quote=None, columns=RATING_COLUMNS)
        if (folder / "u.item").is_file():
            items = read_u_item(folder / "u.item")
    else:
        raise DataError(
            f"{folder} has no ratings.dat, ratings.csv or u.data",
            hint="name the folder that a MovieLens archive unpacks to, or a file",
        )
    return Source(ratings, items, style, terms=GROUPLENS_TERMS)


def read_u_item(path: Path) -> Table:
    """MovieLens 100K's items: one column of 0 or 1 for each genre, joined here with `|`."""
    columns = ["item_id", "title", "release date", "video date", "url", *GENRES_100K]
    table = read_delimited(path, separator="|", quote=None, columns=columns, encoding="latin-1")
    genres = pl.concat_str(
        [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in GENRES_100K[1:]],
        separator="|",
        ignore_nulls=True,
    )
    frame = table.frame.select(LINE, "item_id", "title", genres=genres)
    return Table(table.name, frame, table.broken)
