"""The data set on disk: `interactions.parquet`, `items.parquet` and `dataset.json` in one folder.

`training.data.schema` gives the columns of the two tables.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import DataError
from training.data.schema import INTERACTION_TYPES, ITEM_TYPES, PARTS
from training.data.summary import Summary, summarise_frames

__all__ = [
    "DATASET_FILES",
    "Dataset",
    "DatasetInfo",
    "Order",
    "Summary",
    "fingerprint",
    "make_dataset",
    "read_dataset",
    "store_dataset",
    "summarise",
    "write_dataset",
]

Order = Literal["timestamp", "row", "none"]

DATASET_FILES: Final = ("interactions.parquet", "items.parquet", "dataset.json")


class DatasetInfo(BaseModel):
    """What `dataset.json` says about the two tables beside it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = Field(default=1, description="version of this folder's layout")
    name: str = Field(description='short name: "ml-100k", or the stem of the imported file')
    source: str = Field(description="file the data came from: its name, without folders")
    terms: str | None = Field(description="licence or terms of the data; null where unknown")
    order: Order = Field(description="what orders a user's interactions: their timestamps, their rows, or nothing")
    presplit: bool = Field(description='interactions carry a column `part`: "train", "valid" or "test"')
    fingerprint: str = Field(description="sha256 over the values of both tables, as hexadecimal digits")


@dataclass(frozen=True)
class Dataset:
    """A data set in memory; `training.data.schema` gives the columns of both tables."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    info: DatasetInfo


def make_dataset(
    interactions: pl.DataFrame,
    items: pl.DataFrame,
    *,
    name: str,
    source: str,
    terms: str | None,
    order: Order,
) -> Dataset:
    """Put columns and items in their canonical order and take the fingerprint.

    Raises:
        ValueError: a column is missing, of another dtype, or breaks the schema.
    """
    interactions = interactions.select([c for c in INTERACTION_TYPES if c in interactions.columns])
    items = items.select([c for c in ITEM_TYPES if c in items.columns]).sort("item_id")
    info = DatasetInfo(
        schema_version=1,
        name=name,
        source=source,
        terms=terms,
        order=order,
        presplit="part" in interactions.columns,
        fingerprint=fingerprint(interactions, items),
    )
    dataset = Dataset(interactions, items, info)
    if fault := fault_of(dataset):
        raise ValueError(fault)
    return dataset


def write_dataset(dataset: Dataset, out: Path) -> None:
    """Write the three files, each atomically and `dataset.json` last.

    While the tables are being replaced there is no `dataset.json`, so an interrupted write is not mistaken
    for a data set. The stored fingerprint is always that of the tables.

    Raises:
        ValueError: the tables break the schema.
        DataError: the folder cannot be written.
    """
    if fault := fault_of(dataset):
        raise ValueError(fault)
    stored = dataset.info.model_copy(
        update={"fingerprint": fingerprint(dataset.interactions, dataset.items)}
    ).model_dump_json(indent=2)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "dataset.json").unlink(missing_ok=True)
        replace_file(out / "interactions.parquet", dataset.interactions.write_parquet)
        replace_file(out / "items.parquet", dataset.items.write_parquet)
        replace_file(out / "dataset.json", lambda path: Path(path).write_text(stored + "\n", encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot write the data set to {out}: {error.strerror or error}",
            hint="choose a folder you can write to",
        ) from error


def store_dataset(dataset: Dataset, out: Path, *, force: bool) -> bool:
    """Write the data set unless `out` already holds the same one; return whether it was written.

    Raises:
        DataError: `out` holds something else and `force` is not set.
    """
    if not force and any((out / name).exists() for name in DATASET_FILES):
        held = "something that is not a readable data set"
        try:
            info = read_dataset(out).info
            if info == dataset.info:
                return False
            held = f"another data set ({info.name} from {info.source}, {info.fingerprint[:12]})"
        except DataError:
            pass
        raise DataError(f"{out} already holds {held}", hint="choose another --out, or replace it with --force")
    write_dataset(dataset, out)
    return True


def read_dataset(path: Path) -> Dataset:
    """Read and check a folder that `write_dataset` wrote.

    Raises:
        DataError: a file is missing, unreadable or of another schema, or the tables do not match
            `dataset.json`; the message names the file.
    """
    again = "import it again with `hdrm data import`, or fetch it with `hdrm data fetch`"
    for name in reversed(DATASET_FILES):
        if not (path / name).is_file():
            raise DataError(f"{path} is not a data set: it has no {name}", hint=again)
    try:
        info = DatasetInfo.model_validate_json((path / "dataset.json").read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path / 'dataset.json'}: {field}: {first['msg']}", hint=again) from error
    tables = []
    for name in DATASET_FILES[:2]:
        try:
            tables.append(pl.read_parquet(path / name, glob=False))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{path / name} cannot be read: {first_line(error)}", hint=again) from error
    dataset = Dataset(tables[0], tables[1], info)
    if fault := fault_of(dataset):
        raise DataError(f"{path}: {fault}", hint=again)
    if fingerprint(dataset.interactions, dataset.items) != info.fingerprint:
        raise DataError(
            f"{path}: the tables are not those that dataset.json was written for (fingerprints differ)",
            hint=again,
        )
    return dataset


def summarise(dataset: Dataset) -> Summary:
    """Counts, density, history lengths, popularity skew and time range; reads nothing, writes nothing."""
    info = dataset.info
    return summarise_frames(
        dataset.interactions,
        dataset.items,
        name=info.name,
        source=info.source,
        terms=info.terms,
        order=info.order,
        fingerprint=info.fingerprint,
    )


def fingerprint(interactions: pl.DataFrame, items: pl.DataFrame) -> str:
    """sha256 over the columns' values in row order; the Parquet encoding and column order do not matter.

    Each column adds its name and row count, then one byte a row for "not null", then its values:
    integers (timestamps as microseconds) as int64, ratings as float32, strings as int64 byte lengths
    followed by their UTF-8, lists as int64 lengths followed by their elements, all little-endian.
    """
    digest = hashlib.sha256()
    for table, frame, types in (
        ("interactions", interactions, INTERACTION_TYPES),
        ("items", items, ITEM_TYPES),
    ):
        for name in types:
            if name in frame.columns:
                digest.update(f"{table}.{name}:{frame.height}\n".encode())
                hash_column(digest.update, frame[name])
    return digest.hexdigest()


def hash_column(update: Callable[[bytes], None], column: pl.Series) -> None:
    update(column.is_not_null().cast(pl.UInt8).to_numpy().tobytes())
    if column.dtype == pl.String:
        text = column.fill_null("")
        update(text.str.len_bytes().cast(pl.Int64).to_numpy().astype("<i8").tobytes())
        for start in range(0, len(text), 1 << 20):
            update("".join(text.slice(start, 1 << 20).to_list()).encode())
    elif isinstance(column.dtype, pl.List):
        update(column.list.len().fill_null(0).cast(pl.Int64).to_numpy().astype("<i8").tobytes())
        hash_column(update, column.filter(column.list.len() > 0).explode().cast(pl.String))
    elif column.dtype.is_float():
        update(column.fill_null(0.0).to_numpy().astype("<f4").tobytes())
    else:
        update(column.cast(pl.Int64).fill_null(0).to_numpy().astype("<i8").tobytes())


def fault_of(dataset: Dataset) -> str | None:
    """The first way in which the tables break the layout, or None."""
    frame, items, info = dataset.interactions, dataset.items, dataset.info
    optional = {"rating"} if info.presplit else {"rating", "part"}
    fault = schema_fault("interactions", frame, INTERACTION_TYPES, optional) or schema_fault(
        "items", items, ITEM_TYPES, set()
    )
    if fault:
        return fault
    if ("part" in frame.columns) != info.presplit:
        return f"interactions have a column 'part', and presplit is {info.presplit}"
    for column in ("user_id", "item_id"):
        if frame[column].null_count() or (frame[column] == "").any():
            return f"interactions.{column} has missing values"
    if frame.is_empty():
        return "interactions has no rows"
    times = frame.height - frame["timestamp"].null_count()
    if times != (frame.height if info.order == "timestamp" else 0):
        return f"interactions.timestamp has {times} values in {frame.height} rows, and order is {info.order!r}"
    if info.presplit and not frame["part"].is_in(PARTS).fill_null(False).all():
        return f"interactions.part has values other than {', '.join(PARTS)}"
    if items["item_id"].null_count() or items["item_id"].is_duplicated().any():
        return "items.item_id is not unique"
    unknown = frame.select(pl.col("item_id").unique()).join(items, on="item_id", how="anti")
    if unknown.height:
        return f"items has no row for {unknown.height} items of interactions, e.g. {unknown['item_id'].min()!r}"
    return None


def schema_fault(table: str, frame: pl.DataFrame, types: dict[str, pl.DataType], optional: set[str]) -> str | None:
    for name, expected in types.items():
        got = frame.schema.get(name)
        if got is None and name not in optional:
            return f"{table} has no column {name!r}"
        if got is not None and got != expected:
            return f"{table}.{name} is {got}, expected {expected}"
    extra = [name for name in frame.columns if name not in types]
    return f"{table} has an unknown column {extra[0]!r}" if extra else None


def replace_file(target: Path, write: Callable[[Path], object]) -> None:
    """Write beside the target, then rename: readers see the old file or the new one."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
