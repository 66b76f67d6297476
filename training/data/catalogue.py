"""The catalogue: one row for each known item, with its title, year and categories."""

import re
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from model.errors import DataError
from training.data.badrows import RowReport, report_rows
from training.data.columns import as_id, bad_id, pick_column
from training.data.formats import LINE, Table
from training.data.schema import ITEM_TYPES

__all__ = ["ItemStyle", "clean_items", "complete_items", "natural_title"]

TITLE_YEAR: Final = r"^(.*?)\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$"  # noqa: RUF001  an en dash stands in titles
YEAR: Final = r"(?:^|[^0-9])([12]\d{3})(?:$|[^0-9])"
NO_GENRES: Final = ("unknown", "(no genres listed)")

ARTICLES: Final = (
    *(
        "The",
        "A",
        "An",
        "La",
        "Le",
        "Les",
        "L'",
        "Un",
        "Une",
        "Il",
        "Lo",
        "Gli",
        "I",
        "Una",
        "El",
        "Los",
        "Las",
    ),
    *("Der", "Die", "Das", "Ein", "Eine", "Den", "Det", "De", "Het", "O", "Os", "As"),
)
TRAILING_ARTICLE: Final = re.compile(rf"(^|\()([^()]*?\S), ({'|'.join(ARTICLES)})(?=\)|\s*\(|\s*$)")


@dataclass(frozen=True)
class ItemStyle:
    """How an item file writes its values.

    Attributes:
        separator: what stands between the categories of a text column.
        titles: "movielens" takes the year out of "Toy Story (1995)" and puts a trailing article in front.
    """

    separator: str = "|"
    titles: Literal["plain", "movielens"] = "plain"


def clean_items(table: Table, style: ItemStyle, item_column: str | None) -> tuple[pl.DataFrame, RowReport]:
    """An item file as the columns `item_id`, `title`, `year` and `categories`, without its bad rows.

    Args:
        item_column: the interactions' item column: taken where the item file has it too.

    Raises:
        DataError: no column holds item ids.
    """
    named = item_column if item_column in table.columns else None
    key = pick_column(table, "item", named) or ("id" if "id" in table.columns else None)
    if key is None:
        raise DataError(
            f"{table.name}: no column holds item ids; its columns are: {', '.join(table.columns)}",
            hint="call the column item_id",
        )
    if table.frame.is_empty():
        raise DataError(f"{table.name} has no rows", hint="leave the item file out if nothing is known of the items")
    title, year = titles_and_years(table, style)
    frame = pl.DataFrame(
        {
            LINE: table.frame[LINE],
            "item_id": as_id(table, key),
            "title": title,
            "year": year,
            "categories": categories_of(table, style),
        },
        schema={LINE: pl.Int64(), **ITEM_TYPES},
    )
    missing = pl.col("item_id").is_null() | (pl.col("item_id") == "")
    frame = frame.with_columns(
        pl.when(missing)
        .then(pl.lit("missing item id"))
        .when(bad_id("item_id"))
        .then(pl.lit("unusable id"))
        .when(~pl.col("item_id").is_first_distinct())
        .then(pl.lit("duplicate item"))
        .alias("reason")
    )
    report = report_rows(table, frame.filter(pl.col("reason").is_not_null()))
    return frame.filter(pl.col("reason").is_null()).select(list(ITEM_TYPES)), report


def complete_items(items: pl.DataFrame | None, interactions: pl.DataFrame) -> pl.DataFrame:
    """Add a row for each item that occurs in the interactions only."""
    seen = interactions.select(pl.col("item_id").unique())
    if items is None:
        items = pl.DataFrame(schema=ITEM_TYPES)
    added = seen.join(items, on="item_id", how="anti").with_columns(
        pl.lit(None, pl.String).alias("title"),
        pl.lit(None, pl.Int32).alias("year"),
        pl.lit([], pl.List(pl.String)).alias("categories"),
    )
    return pl.concat([items, added]).sort("item_id")


def natural_title(title: str) -> str:
    """Put a trailing article in front, in the title and in its translation.

    >>> natural_title("Horseman on the Roof, The (Hussard sur le toit, Le)")
    'The Horseman on the Roof (Le Hussard sur le toit)'
    """

    def turned(match: re.Match[str]) -> str:
        opening, rest, article = match.groups()
        return f"{opening}{article}{'' if article.endswith(chr(39)) else ' '}{rest}"

    return TRAILING_ARTICLE.sub(turned, title)


def titles_and_years(table: Table, style: ItemStyle) -> tuple[pl.Series | None, pl.Series | None]:
    title_column = pick_column(table, "title", None)
    year_column = pick_column(table, "year", None)
    title = text_of(table, title_column)
    year = text_of(table, year_column)
    if title is not None and style.titles == "movielens":
        split = pl.DataFrame({"t": title}).select(
            title=pl.coalesce(pl.col("t").str.extract(TITLE_YEAR, 1), "t"),
            year=pl.col("t").str.extract(TITLE_YEAR, 2),
        )
        natural = [text and natural_title(text) for text in split["title"]]
        title = pl.Series("title", natural, dtype=pl.String)
        year = split["year"] if year is None else year
    if year is not None:
        year = year.str.extract(YEAR, 1).cast(pl.Int32)
    return title, year


def text_of(table: Table, column: str | None) -> pl.Series | None:
    """A column as trimmed text, null where nothing is left of it."""
    if column is None:
        return None
    values = table.frame[column]
    if values.dtype.is_nested() or values.dtype == pl.Binary:
        raise DataError(f"{table.name}: column {column!r} is {values.dtype}, expected text")
    return values.cast(pl.String).str.strip_chars().replace("", None)


def categories_of(table: Table, style: ItemStyle) -> pl.Series:
    column = pick_column(table, "categories", None)
    if column is None:
        return pl.Series([[]] * table.frame.height, dtype=pl.List(pl.String))
    values = table.frame[column]
    if isinstance(values.dtype, pl.List):
        if values.dtype.inner.is_nested():
            raise DataError(f"{table.name}: column {column!r} is {values.dtype}, expected lists of text")
        lists = values.cast(pl.List(pl.String))
    else:
        text = text_of(table, column)
        assert text is not None
        lists = text.str.split(style.separator)
    name = pl.element().str.strip_chars()
    unwanted = ["", *NO_GENRES] if style.titles == "movielens" else [""]
    kept = pl.col("c").list.eval(name.filter(name.is_not_null() & ~name.is_in(unwanted)))
    return (
        pl.DataFrame({"c": lists})
        .select(kept.list.unique(maintain_order=True).fill_null(pl.lit([], pl.List(pl.String))))
        .to_series()
    )
