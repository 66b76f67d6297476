"""The log in a SQLite file, for the processes of one machine."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from model.errors import UnavailableError
from service.events.event import Event
from service.events.log import Backend, Sink
from service.events.mark import Mark
from service.events.record import Deletion, Record, pack, record_id, unpack, user_of
from service.grouped import Grouped

__all__ = ["SqliteFollower", "SqliteLog"]

PAGE = 100  # records read at a time, so that the event loop turns between
BUSY_SECONDS = 5.0  # that another process may take to write
SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    record_id TEXT NOT NULL UNIQUE,
    user_id TEXT,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS records_of_user ON records (user_id);
"""
INSERT = "INSERT OR IGNORE INTO records (record_id, user_id, body) VALUES (?, ?, ?)"
SELECT = "SELECT seq, body FROM records WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
NEWEST = "SELECT coalesce(max(seq), 0) FROM records"
OF_USER = "SELECT body FROM records WHERE user_id = ? ORDER BY seq"
CHECKPOINT = "PRAGMA wal_checkpoint(TRUNCATE)"
DELETE = "DELETE FROM records WHERE user_id = ?"
END = 2**63 - 1  # no record stands behind it

Row = tuple[str, str | None, str]
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SqliteLog:
    """A file in write-ahead mode, synchronised at every commit.

    Records that arrive while one commit is under way share the next: a synchronisation takes milliseconds, whatever it
    writes. Beside the file stands a mark of the newest record, so that those who read need not ask SQLite whether there
    is anything new. What is deleted is overwritten.

    Args:
        path: the file; made, with its folder, if it is not there.

    Raises:
        UnavailableError: it cannot be used.
    """

    backend: Backend = "sqlite"

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(
                os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            )  # nobody else's business; what is beside takes after it
            self._mark = Mark(_mark_of(path))
            self._writer = _connect(path)
            self._writer.executescript(SCHEMA)
            self._insert([])  # after a crash or a restored file, the mark may stand elsewhere
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error
        self._thread = ThreadPoolExecutor(1, "hdrm-events")
        self._commit = Grouped(self._write)

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """See `EventLog.append`."""
        return await self._commit(records)

    async def of_user(self, user_id: str) -> list[Event]:
        """See `EventLog.of_user`."""
        return await self._away(self._of_user, user_id)

    async def delete_user(self, deletion: Deletion) -> int:
        """See `EventLog.delete_user`."""
        return await self._away(self._delete, deletion)

    def follow(self, sink: Sink, *, after: str | None = None, until: str | None = None) -> "SqliteFollower":
        """See `EventLog.follow`."""
        return SqliteFollower(self._path, sink, after=int(after or 0), until=END if until is None else int(until))

    async def close(self) -> None:
        """See `EventLog.close`."""
        await self._commit.settled()
        self._thread.shutdown()
        self._writer.close()
        self._mark.close()

    async def _write(self, groups: Sequence[Sequence[Record]]) -> list[list[bool]]:
        rows = [_row(record) for group in groups for record in group]
        new = iter(await self._away(self._insert, rows))
        return [list(islice(new, len(group))) for group in groups]

    async def _away(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _insert(self, rows: Sequence[Row]) -> list[bool]:
        with self._writing():
            return [self._writer.execute(INSERT, row).rowcount == 1 for row in rows]

    def _delete(self, deletion: Deletion) -> int:
        with self._writing():
            events = len(self._of_user(deletion.user_id))
            self._writer.execute(DELETE, (deletion.user_id,))
            self._writer.execute(INSERT, _row(deletion))
        self._writer.execute(CHECKPOINT).fetchall()  # what was deleted would stay in the write-ahead file
        return events

    def _of_user(self, user_id: str) -> list[Event]:
        records = [unpack(body) for (body,) in self._writer.execute(OF_USER, (user_id,))]
        return [record for record in records if isinstance(record, Event)]

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._writer:  # committed, or rolled back by what is raised
            self._writer.execute("BEGIN IMMEDIATE")
            yield
            # before the commit, while nobody else can write: whoever looks too early looks again, and nobody too late
            (self._mark.value,) = self._writer.execute(NEWEST).fetchone()


class SqliteFollower:
    """Reads in the event loop.

    Args:
        path: the file, which is there.
        sink: is told the records.
        after, until: behind which record to begin, and with which to end.
    """

    def __init__(self, path: Path, sink: Sink, *, after: int = 0, until: int = END) -> None:
        self._path = path
        self._sink = sink
        self._connection = _connect(path)
        self._mark = Mark(_mark_of(path))
        self._seq = after
        self._until = until

    @property
    def behind(self) -> bool:
        """See `Follower.behind`."""
        return min(self._mark.value, self._until) > self._seq

    @property
    def position(self) -> str:
        """See `Follower.position`."""
        return str(self._seq)

    async def catch_up(self) -> None:
        """See `Follower.catch_up`."""
        try:
            while self.behind and (rows := self._page()):
                self._sink([unpack(body) for _, body in rows])
                self._seq = rows[-1][0]
                if len(rows) == PAGE:
                    await asyncio.sleep(0)  # others may have taken in some meanwhile: what is next is looked for anew
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    def _page(self) -> list[tuple[int, str]]:
        return self._connection.execute(SELECT, (self._seq, self._until, PAGE)).fetchall()

    async def close(self) -> None:
        """See `Follower.close`."""
        self._connection.close()
        self._mark.close()


def _connect(path: Path) -> sqlite3.Connection:
    # transactions begin where it is said, and everything runs in one thread at a time
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + "-mark")


def _row(record: Record) -> Row:
    return record_id(record), user_of(record), pack(record).decode()


def _unusable(path: Path, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"{path}: events cannot be kept there ({error})", hint="make the folder writable, or name another file"
    )
