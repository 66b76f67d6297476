"""A batch on its way into a file: what is done already, in parts beside it, so that it can be gone on with.

<out>.parts/part-00000.parquet   rows of some users, in their order; written at once or not at all
<out>.parts/batch.json           what the batch is, until when events count, and how far it is
<out>.parts/lock                 held by the process that works on it
"""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout
from pydantic import ValidationError

from model.config import Frozen
from model.errors import DataError, UnavailableError
from model.folder import STAGING, LocalFolder, sync
from service.events.event import Effect
from service.events.reading import Moment

__all__ = ["SCHEMA", "Batch", "Begun", "Parts"]

SCHEMA = {
    "user_id": pl.String,
    "rank": pl.Int32,
    "item_id": pl.String,
    "title": pl.String,
    "score": pl.Float64,
    "distance": pl.Float64,
    "strategy": pl.String,
    "model_version": pl.String,
}
GROUP_ROWS = 2**17  # of the file, held in memory together
STATE, JOINED, LOCK = "batch.json", "joined.parquet", "lock"
ANEW = "--force begins anew"


class Batch(Frozen):
    """What is asked for; two that are equal, of one moment, have the same answers.

    Attributes:
        model_version: of the model.
        steps: reverse steps, if they are not the model's own.
        users: `all`, or a digest of their ids.
        k: items for each.
        categories, deny: what the items are restricted to.
        warm: whether the answers go into the cache too.
        event_types: what events do to histories.
    """

    model_version: str
    steps: int | None
    users: str
    k: int
    categories: tuple[str, ...]
    deny: tuple[str, ...]
    warm: bool
    event_types: Mapping[str, Effect]


class Begun(Frozen):
    """A batch and how far it is.

    Attributes:
        batch: what is asked for.
        moment: events count until then.
        parts: how many there are.
        last: id of the last user whom they are about; None before the first.
        users: how many they are about.
        left_out: how many further ones were deleted.
    """

    batch: Batch
    moment: Moment
    parts: int = 0
    last: str | None = None
    users: int = 0
    left_out: int = 0


class Parts:
    """The parts of one file. To be used by who holds the lock.

    Args:
        out: the file.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(out.name + ".parts")
        self._files = LocalFolder(self.folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Work on them alone; once nothing is left to do they are removed, and the folder, if nothing else is in it.

        Raises:
            UnavailableError: another process does, or the folder cannot be made.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            lock = FileLock(self.folder / LOCK, timeout=0).acquire()
        except Timeout:
            raise UnavailableError(
                f"{self.folder}: another process is working on it", hint="wait for it, or give another --out"
            ) from None
        except OSError as error:
            raise self._unwritable(self.folder, error) from error
        with lock:
            try:
                yield
            finally:
                if self._files.read(STATE) is None:
                    self._clear()

    def begun(self) -> Begun | None:
        """How far an earlier run came, None if there was none.

        Raises:
            DataError: what it left is damaged.
        """
        content = self._files.read(STATE)
        if content is None:
            return None
        try:
            begun = Begun.model_validate_json(content)
        except ValidationError as error:
            raise DataError(f"{self.folder / STATE}: is not of a batch", hint=ANEW) from error
        for part in self._paths(begun):
            if not part.is_file():
                raise DataError(f"{part}: is not there any more", hint=ANEW)
        return begun

    def discard(self) -> None:
        """Forget what an earlier run left."""
        self._files.remove(STATE)

    def save(self, begun: Begun) -> None:
        """Remember how far it is.

        Raises:
            UnavailableError: it cannot be written; what was remembered stays.
        """
        self._files.write(STATE, begun.model_dump_json().encode())

    def add(self, begun: Begun, columns: Mapping[str, Sequence[Any]], **progress: Any) -> Begun:
        """Keep a further part; how far it is then.

        Args:
            begun: how far it was.
            columns: as in `SCHEMA`.
            progress: fields of `Begun` as they are with it.

        Raises:
            UnavailableError: it cannot be written; all is as before.
        """
        content = BytesIO()
        pl.DataFrame(columns, SCHEMA).write_parquet(content)
        self._files.write(_part(begun.parts), content.getvalue())
        begun = begun.model_copy(update={"parts": begun.parts + 1, **progress})
        self.save(begun)
        return begun

    def join(self, begun: Begun, without: Collection[str]) -> tuple[int, int]:
        """Make the file of the parts, in bounded memory; they are gone then.

        Args:
            begun: how far it is: to the end.
            without: ids of users who are not to be in it.

        Returns:
            Rows of the file, and how many users it is without.

        Raises:
            UnavailableError: it cannot be written; all is as before.
        """
        rows = pl.scan_parquet(self._paths(begun), glob=False) if begun.parts else pl.LazyFrame(schema=SCHEMA)
        excluded = pl.col("user_id").is_in(list(without))
        left_out = 0
        if without:
            users = rows.filter(excluded).select(pl.col("user_id").n_unique())
            left_out = int(users.collect(engine="streaming").item())
            rows = rows.filter(~excluded)
        joined = self.folder / JOINED
        try:
            rows.sink_parquet(joined, row_group_size=GROUP_ROWS)
            sync(joined)
            os.replace(joined, self.out)
            sync(self.out.parent)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise self._unwritable(self.out, error) from error
        self.discard()
        return int(pl.scan_parquet(self.out, glob=False).select(pl.len()).collect().item()), left_out

    def _clear(self) -> None:
        with suppress(OSError):
            shutil.rmtree(self.folder / STAGING, ignore_errors=True)
            for path in (*self.folder.glob("part-*.parquet"), self.folder / JOINED, self.folder / LOCK):
                path.unlink(missing_ok=True)
            self.folder.rmdir()

    def _paths(self, begun: Begun) -> list[Path]:
        return [self.folder / _part(number) for number in range(begun.parts)]

    def _unwritable(self, path: Path, error: Exception) -> UnavailableError:
        why = getattr(error, "strerror", None) or str(error)
        return UnavailableError(f"{path}: cannot be written ({why})", hint="make room or choose another --out")


def _part(number: int) -> str:
    return f"part-{number:05}.parquet"
