"""File formats: each reader turns one file into a Table and knows nothing of users or items."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from model.errors import DataError
from training.data.schema import PARTS

__all__ = [
    "FORMATS",
    "LINE",
    "FileFormat",
    "Table",
    "detect_format",
    "read_delimited",
    "read_double_colon",
    "read_json_lines",
    "read_pairs",
    "read_parquet",
    "read_recbole",
    "read_table",
]

FileFormat = Literal["csv", "tsv", "jsonl", "parquet", "movielens", "recbole", "npz"]
FORMATS: Final[tuple[FileFormat, ...]] = ("csv", "tsv", "jsonl", "parquet", "movielens", "recbole", "npz")

SUFFIXES: Final[dict[str, FileFormat]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".inter": "recbole",
    ".item": "recbole",
    ".npz": "npz",
}
MOVIELENS_FILES: Final = ("ratings.dat", "ratings.csv", "u.data")

LINE: Final = "\0line"
EXTRA: Final = "\0extra"
NOT_IN_TEXT: Final = "\x01"
UNREADABLE: Final = (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True)
class Table:
    """One file's records.

    Attributes:
        name: the file's name, for messages.
        frame: the file's columns (text formats: all String) and LINE, the Int64 number of each record's line.
        broken: LINE numbers of the lines that are no record, by reason.
        unit: what LINE counts: lines of a text file (header included) or rows, both from 1.
    """

    name: str
    frame: pl.DataFrame
    broken: dict[str, list[int]]
    unit: Literal["line", "row"] = "line"

    @property
    def columns(self) -> list[str]:
        return [name for name in self.frame.columns if name != LINE]


def detect_format(path: Path) -> FileFormat:
    """The format that a path's name says; `.gz` is looked through, a folder is MovieLens or RecBole.

    Raises:
        DataError: the path does not exist or its suffix says nothing.
    """
    if not path.exists():
        raise DataError(f"{path} does not exist", hint="check the path")
    if path.is_dir():
        return "recbole" if not has_movielens(path) and any(path.glob("*.inter")) else "movielens"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    found = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None and path.name in MOVIELENS_FILES:
        return "movielens"
    if found is None:
        raise DataError(f"{path.name}: the suffix does not say the format", hint=f"--format {'|'.join(FORMATS)}")
    return found


def has_movielens(folder: Path) -> bool:
    return any((folder / name).is_file() for name in MOVIELENS_FILES)


def read_table(path: Path, form: FileFormat) -> Table:
    """Read a file of a format that holds one table.

    Raises:
        DataError: the file is missing, unreadable or empty; the message names it.
    """
    readers: dict[str, Callable[[Path], Table]] = {
        "csv": read_delimited,
        "tsv": lambda path: read_delimited(path, separator="\t"),
        "jsonl": read_json_lines,
        "parquet": read_parquet,
        "recbole": read_recbole,
    }
    if form not in readers:
        raise DataError(f"{path.name}: {form} is not one table", hint=f"formats: {', '.join(readers)}")
    return readers[form](path)


def read_delimited(
    path: Path,
    *,
    separator: str = ",",
    quote: str | None = '"',
    columns: list[str] | None = None,
    encoding: str = "utf8",
) -> Table:
    """Read separated values, gzip looked through; every column is String, an empty field is null.

    Args:
        columns: names of the columns of a file without a header.
    """

    def read(source: Path | bytes, header: bool, ragged: bool) -> pl.DataFrame:
        return pl.read_csv(
            source,
            separator=separator,
            quote_char=quote,
            infer_schema=False,
            has_header=header,
            encoding=encoding,
            truncate_ragged_lines=ragged,
            glob=False,
        )

    with readable(path):
        refuse_utf16(path)
        if columns is not None:
            header = separator.join([*columns, EXTRA]).encode() + b"\n"
            frame = read(header + content(path), True, True)
        else:
            try:
                frame = read(path, True, False)
            except pl.exceptions.ComputeError as error:
                if "more fields" not in str(error):
                    raise
                first, newline, rest = content(path).partition(b"\n")
                header = first.rstrip(b"\r") + f"{separator}{EXTRA}".encode()
                frame = read(header + newline + rest, True, True)
    for name in frame.columns:
        base, renamed, _ = name.rpartition("_duplicated_")  # what polars calls the second column of a name
        if renamed and base in frame.columns:
            raise DataError(f"{path.name}: the header has column {base!r} twice", hint="rename one of them")
    frame = number_lines(frame, first=1 if columns is not None else 2)
    broken = {}
    if EXTRA in frame.columns:
        broken["too many fields"] = frame.filter(pl.col(EXTRA).is_not_null())[LINE].to_list()
        frame = frame.filter(pl.col(EXTRA).is_null()).drop(EXTRA)
    return Table(path.name, frame, broken)


def number_lines(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """Add LINE, allowing for line breaks in quoted fields; blank lines at the end are dropped."""
    names = frame.columns
    first += sum(name.count("\n") for name in names)
    breaks = pl.sum_horizontal(pl.col(names).str.count_matches("\n", literal=True).fill_null(0))
    line = first + pl.int_range(pl.len(), dtype=pl.Int64) + breaks.cum_sum().shift(1, fill_value=0)
    frame = frame.with_columns(line.cast(pl.Int64).alias(LINE))
    filled = frame.filter(~pl.all_horizontal(pl.col(names).is_null()))
    return frame.filter(pl.col(LINE) <= (filled[LINE].max() if filled.height else 0))


def read_json_lines(path: Path) -> Table:
    """Read one JSON object a line; blank lines are skipped, other lines are broken."""
    lines = read_lines(path)
    text = pl.col("text")
    is_object = text.str.json_path_match("$").str.starts_with("{") & text.str.contains(r"^\s*\{")
    lines = lines.with_columns(is_object.fill_null(False).alias("good"))
    good = lines.filter("good")
    broken = lines.filter(~pl.col("good"))[LINE].to_list()
    if good.is_empty():
        raise DataError(f"{path.name} has no line that is a JSON object", hint="one JSON object a line")
    with readable(path):
        frame = pl.read_ndjson(io.BytesIO("\n".join(good["text"].to_list()).encode()), infer_schema_length=None)
    return Table(path.name, frame.with_columns(good[LINE]), {"not a JSON object": broken})


def read_parquet(path: Path) -> Table:
    """Read Parquet; columns keep their dtypes, LINE counts rows."""
    with readable(path):
        frame = pl.read_parquet(path, glob=False, hive_partitioning=False)
    line = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    return Table(path.name, frame.with_columns(line.alias(LINE)), {}, unit="row")


def read_recbole(path: Path) -> Table:
    """Read a RecBole atomic file: tab-separated, a header of `name:type`; the types are dropped."""
    table = read_delimited(path, separator="\t", quote=None)
    untyped = [name for name in table.columns if ":" not in name]
    if untyped:
        raise DataError(
            f"{path.name}: column {untyped[0]!r} of the header is not name:type",
            hint="a file without types is read with --format tsv",
        )
    names = {name: name.rpartition(":")[0] for name in table.columns}
    repeated = [name for name in names.values() if list(names.values()).count(name) > 1]
    if repeated:
        raise DataError(f"{path.name}: the header has column {repeated[0]!r} twice")
    return Table(table.name, table.frame.rename(names), table.broken)


def read_double_colon(path: Path, columns: list[str]) -> Table:
    """Read lines of fields between `::`, without a header, in UTF-8 or else Latin-1."""
    lines = read_lines(path, encodings=("utf8", "latin-1"))
    fields = pl.col("text").str.split("::")
    extra = lines.filter(fields.list.len() > len(columns))[LINE].to_list()
    frame = lines.filter(fields.list.len() <= len(columns)).select(
        LINE, *(fields.list.get(i, null_on_oob=True).alias(name) for i, name in enumerate(columns))
    )
    return Table(path.name, frame, {"too many fields": extra})


def read_lines(path: Path, encodings: tuple[str, ...] = ("utf8",)) -> pl.DataFrame:
    """The lines that are not blank: `text` and LINE. Of several encodings the first that fits is taken."""
    for encoding in encodings[:-1]:
        try:
            return read_lines(path, (encoding,))
        except DataError:
            continue
    with readable(path):
        refuse_utf16(path)
        frame = pl.read_csv(
            path,
            separator=NOT_IN_TEXT,
            quote_char=None,
            has_header=False,
            schema={"text": pl.String},
            encoding=encodings[-1],
            truncate_ragged_lines=True,
            glob=False,
        )
    frame = frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias(LINE))
    return frame.filter(pl.col("text").str.contains(r"\S"))


def read_pairs(path: Path) -> dict[str, np.ndarray]:
    """The arrays `train`, `valid` and `test` of an `.npz`: integers >= 0 of shape (n, 2), user then item.

    Without `valid`, that part is empty.

    Raises:
        DataError: the file is unreadable, or names the array that is missing or unfit.
    """
    arrays: dict[str, np.ndarray] = {}
    if path.is_file() and not zipfile.is_zipfile(path):
        raise DataError(f"{path.name} is not an .npz file, or not a whole one", hint="save it with numpy.savez")
    with readable(path), np.load(path, allow_pickle=False) as loaded:
        for part in PARTS:
            if part in loaded.files:
                arrays[part] = loaded[part]
            elif part == "valid":
                arrays[part] = np.zeros((0, 2), np.int64)
            else:
                have = ", ".join(loaded.files) or "nothing"
                raise DataError(f"{path.name} has no array {part!r}; it has: {have}")
    for part, array in arrays.items():
        if array.ndim != 2 or array.shape[1] != 2:
            raise DataError(f"{path.name}: array {part!r} has shape {array.shape}, expected (n, 2)")
        if not np.issubdtype(array.dtype, np.integer):
            raise DataError(f"{path.name}: array {part!r} has dtype {array.dtype}, expected integers")
        if array.size and array.min() < 0:
            raise DataError(f"{path.name}: array {part!r} has a negative id, {array.min()}")
    return arrays


def refuse_utf16(path: Path) -> None:
    """Raise DataError for a text file that is read as one column of gaps otherwise."""
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError(f"{path.name} is in UTF-16", hint="save it in UTF-8")


def content(path: Path) -> bytes:
    raw = path.read_bytes()
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what readers raise into a DataError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", hint="check the path") from error
    except pl.exceptions.NoDataError as error:
        raise DataError(f"{path.name} is empty") from error
    except (*UNREADABLE, pl.exceptions.PolarsError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].strip() if lines else type(error).__name__
        raise DataError(
            f"{path.name} cannot be read: {reason}",
            hint="check that it is complete, in UTF-8 if it is text, and of the format its name says (else --format)",
        ) from error
