"""The figures that describe a data set."""

from datetime import datetime

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from training.data.schema import PARTS

__all__ = ["HistogramBin", "HistoryLengths", "Popularity", "Summary", "summarise_frames"]


class Figures(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HistoryLengths(Figures):
    """How many interactions the users have."""

    min: int = Field(description="shortest history")
    median: float = Field(description="middle history")
    mean: float = Field(description="interactions per user")
    p95: float = Field(description="95 % of the users have at most this many")
    max: int = Field(description="longest history")


class HistogramBin(Figures):
    """Users whose history has `low` to `high` interactions, both included."""

    low: int = Field(description="shortest history counted here")
    high: int = Field(description="longest history counted here")
    users: int = Field(description="number of users")


class Popularity(Figures):
    """How unevenly interactions fall on the items that have any."""

    top_1_percent: float = Field(description="share of interactions on the most popular 1 % of items")
    top_10_percent: float = Field(description="share of interactions on the most popular 10 % of items")
    gini: float = Field(description="Gini coefficient: 0 if all items are equally popular, towards 1 if one is")


class Summary(Figures):
    """What `hdrm data describe` prints."""

    name: str = Field(description="the data set's short name")
    source: str = Field(description="the file it came from")
    terms: str | None = Field(description="licence or terms, where known")
    order: str = Field(description="what orders a user's interactions: timestamp, row or none")
    fingerprint: str = Field(description="sha256 of the content")
    users: int = Field(description="users with an interaction")
    items: int = Field(description="items with an interaction")
    catalogue: int = Field(description="items known, with or without interactions")
    titled: int = Field(description="items that have a title")
    dated: int = Field(description="items that have a year")
    categories: int = Field(description="different categories")
    interactions: int = Field(description="rows")
    density: float = Field(description="different (user, item) pairs / (users * items with an interaction)")
    repeats: int = Field(description="rows beyond the first of their (user, item) pair")
    history: HistoryLengths = Field(description="interactions per user")
    histogram: tuple[HistogramBin, ...] = Field(description="users by history length, in powers of two")
    popularity: Popularity = Field(description="skew over items with an interaction")
    first: datetime | None = Field(description="earliest time, where there are times")
    last: datetime | None = Field(description="latest time, where there are times")
    mean_rating: float | None = Field(description="mean rating, where there are ratings")
    parts: dict[str, int] | None = Field(description="rows of each part of a pre-split data set")


def summarise_frames(
    interactions: pl.DataFrame,
    items: pl.DataFrame,
    *,
    name: str,
    source: str,
    terms: str | None,
    order: str,
    fingerprint: str,
) -> Summary:
    """Figures of non-empty `interactions` and `items`, with the columns that training.data.datasets documents."""
    lengths = interactions["user_id"].value_counts(name="n")["n"]
    counts = interactions["item_id"].value_counts(name="n")["n"]
    pairs = interactions.select(pl.struct("user_id", "item_id").n_unique()).item()
    timed = order == "timestamp"
    sizes = interactions["part"].value_counts() if "part" in interactions.columns else None
    by_part = dict(sizes.iter_rows()) if sizes is not None else {}
    return Summary(
        name=name,
        source=source,
        terms=terms,
        order=order,
        fingerprint=fingerprint,
        users=len(lengths),
        items=len(counts),
        catalogue=items.height,
        titled=items["title"].count(),
        dated=items["year"].count(),
        categories=items.select(pl.col("categories").list.explode().drop_nulls().n_unique()).item(),
        interactions=interactions.height,
        density=pairs / (len(lengths) * len(counts)),
        repeats=interactions.height - pairs,
        history=history_lengths(lengths),
        histogram=histogram(lengths),
        popularity=popularity(counts),
        first=interactions.select(pl.col("timestamp").min()).item() if timed else None,
        last=interactions.select(pl.col("timestamp").max()).item() if timed else None,
        mean_rating=interactions.select(pl.col("rating").mean()).item() if "rating" in interactions.columns else None,
        parts={part: by_part.get(part, 0) for part in PARTS} if sizes is not None else None,
    )


def history_lengths(lengths: pl.Series) -> HistoryLengths:
    frame = pl.DataFrame({"n": lengths.cast(pl.Int64)})
    n = pl.col("n")
    row = frame.select(min=n.min(), median=n.median(), mean=n.mean(), p95=n.quantile(0.95, "linear"), max=n.max())
    return HistoryLengths.model_validate(row.row(0, named=True))


def histogram(lengths: pl.Series) -> tuple[HistogramBin, ...]:
    """Bins 1, 2-3, 4-7, 8-15, ..., from the first to the last that has a user."""
    bins: dict[int, int] = {}
    for length, users in lengths.value_counts(name="users").iter_rows():
        power = int(length).bit_length() - 1
        bins[power] = bins.get(power, 0) + users
    return tuple(
        HistogramBin(low=2**power, high=2 ** (power + 1) - 1, users=bins.get(power, 0))
        for power in range(min(bins), max(bins) + 1)
    )


def popularity(counts: pl.Series) -> Popularity:
    """Shares of the most popular items (at least one item) and the Gini coefficient.

    With counts sorted upwards, x_1 <= ... <= x_n:  G = sum_i (2 i - n - 1) x_i / (n sum_i x_i)
    """
    n = len(counts)
    x = counts.cast(pl.Float64).sort()
    total = float(x.sum())
    i = pl.Series(range(1, n + 1), dtype=pl.Float64)
    return Popularity(
        top_1_percent=float(x.tail(max(1, round(n * 0.01))).sum()) / total,
        top_10_percent=float(x.tail(max(1, round(n * 0.1))).sum()) / total,
        gini=float(((2 * i - n - 1) * x).sum()) / (n * total),
    )
