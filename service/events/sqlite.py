"""The log in a SQLite file, for the processes of one machine."""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from model.errors import UnavailableError
from service.events.event import Event
from service.events.log import Backend, Sink
from service.events.mark import Mark
from service.grouped import Grouped

__all__ = ["SqliteFollower", "SqliteLog"]

PAGE = 1000  # events read at a time
BUSY_SECONDS = 5.0  # that another process may take to write
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    type TEXT NOT NULL,
    timestamp REAL NOT NULL,
    weight REAL NOT NULL
)
"""
COLUMNS = "event_id, user_id, item_id, type, timestamp, weight"
INSERT = f"INSERT OR IGNORE INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"
SELECT = f"SELECT seq, {COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
NEWEST = "SELECT coalesce(max(seq), 0) FROM events"

Row = tuple[str | float, ...]


class SqliteLog:
    """A file in write-ahead mode, synchronised at every commit.

    Events that arrive while one commit is under way share the next: a synchronisation takes milliseconds, whatever it
    writes. Beside the file stands a mark of the newest event, so that those who read need not ask SQLite whether there
    is anything new.

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
            self._mark = Mark(_mark_of(path))
            self._writer = _connect(path)
            self._writer.execute(SCHEMA)
            self._insert([])  # after a crash or a restored file, the mark may stand elsewhere
        except (OSError, sqlite3.Error) as error:
            raise _unusable(path, error) from error
        self._thread = ThreadPoolExecutor(1, "hdrm-events")
        self._commit = Grouped(self._write)

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """See `EventLog.append`."""
        return await self._commit(events)

    def follow(self, sink: Sink) -> "SqliteFollower":
        """See `EventLog.follow`."""
        return SqliteFollower(self._path, sink)

    async def close(self) -> None:
        """See `EventLog.close`."""
        await self._commit.settled()
        self._thread.shutdown()
        self._writer.close()
        self._mark.close()

    async def _write(self, groups: Sequence[Sequence[Event]]) -> list[list[bool]]:
        rows = [_row(event) for group in groups for event in group]
        try:
            new = iter(await asyncio.get_running_loop().run_in_executor(self._thread, self._insert, rows))
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error
        return [list(islice(new, len(group))) for group in groups]

    def _insert(self, rows: Sequence[Row]) -> list[bool]:
        with self._writer:  # committed, or rolled back by what is raised
            self._writer.execute("BEGIN IMMEDIATE")
            new = [self._writer.execute(INSERT, row).rowcount == 1 for row in rows]
            # before the commit, while nobody else can write: whoever looks too early looks again, and nobody too late
            (self._mark.value,) = self._writer.execute(NEWEST).fetchone()
        return new


class SqliteFollower:
    """Reads in the event loop.

    Args:
        path: the file, which is there.
        sink: is told the events.
    """

    def __init__(self, path: Path, sink: Sink) -> None:
        self._path = path
        self._sink = sink
        self._connection = _connect(path)
        self._mark = Mark(_mark_of(path))
        self._seq = 0

    @property
    def behind(self) -> bool:
        """See `Follower.behind`."""
        return self._mark.value > self._seq

    async def catch_up(self) -> None:
        """See `Follower.catch_up`."""
        try:
            while self.behind and (rows := self._connection.execute(SELECT, (self._seq, PAGE)).fetchall()):
                self._sink([Event(*row[1:]) for row in rows])
                self._seq = rows[-1][0]
        except sqlite3.Error as error:
            raise _unusable(self._path, error) from error

    async def close(self) -> None:
        """See `Follower.close`."""
        self._connection.close()
        self._mark.close()


def _connect(path: Path) -> sqlite3.Connection:
    # transactions begin where it is said, and everything runs in one thread at a time
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + "-mark")


def _row(event: Event) -> Row:
    return event.event_id, event.user_id, event.item_id, event.type, event.timestamp, event.weight


def _unusable(path: Path, error: Exception) -> UnavailableError:
    return UnavailableError(
        f"{path}: events cannot be kept there ({error})", hint="make the folder writable, or name another file"
    )
