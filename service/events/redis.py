"""The log in a Redis Stream, for all replicas that share a Redis."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from model.errors import UnavailableError
from service.events.event import Event
from service.events.log import Backend, Sink
from service.events.record import Deletion, Record, pack, record_id, unpack, user_of
from service.grouped import Grouped

__all__ = ["RedisFollower", "RedisLog"]

# braces: a cluster keeps all on one node
STREAM, IDS, REPORTED = "hdrm:{events}:log", "hdrm:{events}:ids", "hdrm:{events}:reported"
OF_USER = "hdrm:{events}:user:"  # begins the key of each user's list: entry and record id in turn
PAGE = 200  # entries in one reply, so that the event loop turns between
DISCONNECT_SECONDS = 0.5
WAITAOF_SINCE = (7, 2)
# the last line writes in any case: WAITAOF waits for what its own connection wrote, and what is reported again may have
# been written by another that gave up waiting
APPEND = """
local new = {}
for i = 2, #ARGV, 3 do
    new[#new + 1] = redis.call('SADD', KEYS[2], ARGV[i])
    if new[#new] == 1 then
        local entry = redis.call('XADD', KEYS[1], '*', 'record', ARGV[i + 2])
        if ARGV[i + 1] ~= '' then redis.call('RPUSH', ARGV[1] .. ARGV[i + 1], entry, ARGV[i]) end
    end
end
redis.call('INCRBY', KEYS[3], #new)
return new
"""
DELETE = """
local own, events = redis.call('LRANGE', KEYS[4], 0, -1), 0
for i = 1, #own, 2 do
    local entry = redis.call('XRANGE', KEYS[1], own[i], own[i])
    if entry[1] and string.sub(entry[1][2][2], 1, 8) == '["event"' then events = events + 1 end
    redis.call('XDEL', KEYS[1], own[i])
    redis.call('SREM', KEYS[2], own[i + 1])
end
redis.call('DEL', KEYS[4])
redis.call('SADD', KEYS[2], ARGV[1])
redis.call('RPUSH', KEYS[4], redis.call('XADD', KEYS[1], '*', 'record', ARGV[2]), ARGV[1])
redis.call('INCR', KEYS[3])
return events
"""


class RedisLog:
    """Appends by a script, so that an event and its id are kept together or not at all.

    An event counts as kept when Redis has it in the append-only file on its disk: it is asked to say so (WAITAOF, from
    7.2 on), or has to be set to write it there with every command. What Redis may evict does not count as kept.

    Args:
        url: redis://, rediss:// or unix://, as checked by the settings.
        write_seconds: longest time to append, connecting and DNS included.
        read_seconds: longest time to read a page.
    """

    backend: Backend = "redis"

    def __init__(self, url: str, *, write_seconds: float, read_seconds: float) -> None:
        self._url = url
        self._redis = _client(url)
        self._write_seconds = write_seconds
        self._read_seconds = read_seconds
        self._append_all = Grouped(self._write)
        self._waits: bool | None = None  # for the disk, by WAITAOF; None until this Redis was looked at

    async def append(self, records: Sequence[Record]) -> list[bool]:
        """See `EventLog.append`."""
        return await self._append_all(records)

    async def of_user(self, user_id: str) -> list[Event]:
        """See `EventLog.of_user`."""
        try:
            async with asyncio.timeout(self._read_seconds):
                own = await self._redis.lrange(OF_USER + user_id, 0, -1)
                pipeline = self._redis.pipeline(transaction=False)
                for entry in own[::2]:
                    pipeline.xrange(STREAM, entry, entry)
                found = await pipeline.execute()
        except Exception as error:
            await _disconnect(self._redis)
            raise _unreadable(error) from error
        # of one that was deleted meanwhile there is no entry any more
        records = [unpack(fields[b"record"]) for entries in found for _, fields in entries]
        return [record for record in records if isinstance(record, Event)]

    async def delete_user(self, deletion: Deletion) -> int:
        """See `EventLog.delete_user`."""
        keys = (STREAM, IDS, REPORTED, OF_USER + deletion.user_id)
        events: int = await self._durably(DELETE, keys, (deletion.deletion_id, pack(deletion)))
        return events

    def follow(self, sink: Sink, *, after: str | None = None, until: str | None = None) -> "RedisFollower":
        """See `EventLog.follow`."""
        return RedisFollower(self._url, sink, read_seconds=self._read_seconds, after=after or "0", until=until or "+")

    async def close(self) -> None:
        """See `EventLog.close`."""
        await self._append_all.settled()
        await self._redis.aclose()

    async def _write(self, groups: Sequence[Sequence[Record]]) -> list[list[bool]]:
        records = [record for group in groups for record in group]
        parts = [part for record in records for part in (record_id(record), user_of(record) or "", pack(record))]
        new = iter(await self._durably(APPEND, (STREAM, IDS, REPORTED), (OF_USER, *parts)))
        return [[one == 1 for one in islice(new, len(group))] for group in groups]

    async def _durably(self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes]) -> Any:
        """What a script that writes returns, once what it wrote is on the disk."""
        try:
            async with asyncio.timeout(self._write_seconds):
                if self._waits is None:
                    self._waits = await self._is_asked()
                return await self._run(script, keys, arguments, waits=self._waits)
        except UnavailableError:
            raise
        except Exception as error:
            self._waits = None  # another Redis may stand there next time
            await _disconnect(self._redis)
            raise UnavailableError(f"events: not kept by redis ({type(error).__name__})") from error

    async def _is_asked(self) -> bool:
        """Whether this Redis is to say when it has written to its disk; otherwise it does so with every command.

        Raises:
            UnavailableError: it may lose what it acknowledges.
        """
        server = await self._redis.info()
        if not server["aof_enabled"]:
            raise _not_durable("keeps no append-only file", "appendonly yes")
        if server["maxmemory"] and server["maxmemory_policy"].startswith("allkeys"):
            raise _not_durable("may evict events", "maxmemory-policy volatile-lru")
        if tuple(map(int, server["redis_version"].split(".")[:2])) >= WAITAOF_SINCE:
            return True
        if (await self._redis.config_get("appendfsync"))["appendfsync"] != "always":
            raise _not_durable("writes to its disk later", "appendfsync always")
        return False

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[str | bytes], *, waits: bool) -> Any:
        pipeline = self._redis.pipeline(transaction=False)  # one connection, as WAITAOF asks for
        pipeline.execute_command("EVAL", script, len(keys), *keys, *arguments)
        if waits:
            pipeline.execute_command("WAITAOF", 1, 0, round(self._write_seconds * 1000))
        else:  # it may have been started again, or set otherwise, since it was looked at
            pipeline.info("persistence")
            pipeline.config_get("appendfsync")
        replies: list[Any] = await pipeline.execute()
        if waits and replies[1][0] < 1:
            raise TimeoutError
        if not waits and not (replies[1]["aof_enabled"] and replies[2]["appendfsync"] == "always"):
            self._waits = None
            raise _not_durable("does not write to its disk any more", "appendonly yes, appendfsync always")
        return replies[0]


class RedisFollower:
    """Reads once for all that ask while it does: what is asked for later is read by the next round trip.

    Args:
        url: as that of the log.
        sink: is told the records.
        read_seconds: longest time to read a page, connecting and DNS included.
        after, until: behind which entry to begin, and with which to end.
    """

    behind = True  # Redis alone knows

    def __init__(self, url: str, sink: Sink, *, read_seconds: float, after: str = "0", until: str = "+") -> None:
        self._redis = _client(url)
        self._sink = sink
        self._read_seconds = read_seconds
        self._read_for = Grouped(self._read)
        self._last = after.encode()
        self._until = until

    @property
    def position(self) -> str:
        """See `Follower.position`."""
        return self._last.decode()

    async def catch_up(self) -> None:
        """See `Follower.catch_up`."""
        await self._read_for(None)

    async def close(self) -> None:
        """See `Follower.close`."""
        await self._read_for.settled()
        await self._redis.aclose()

    async def _read(self, waiting: Sequence[None]) -> Sequence[None]:
        try:
            page: Any = None
            while page is None or len(page) == PAGE:
                async with asyncio.timeout(self._read_seconds):
                    page = await self._redis.xrange(STREAM, b"(" + self._last, self._until, count=PAGE)
                if page:
                    self._sink([unpack(fields[b"record"]) for _, fields in page])
                    self._last = page[-1][0]
        except Exception as error:
            await _disconnect(self._redis)
            raise _unreadable(error) from error
        return waiting


def _client(url: str) -> Redis:
    return Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2)


async def _disconnect(redis: Redis) -> None:
    """A connection whose reply was given up must not be used again."""
    with suppress(Exception):  # it is gone already
        async with asyncio.timeout(DISCONNECT_SECONDS):
            await redis.connection_pool.disconnect()


def _unreadable(error: Exception) -> UnavailableError:
    return UnavailableError(f"events: redis cannot be read ({type(error).__name__})")


def _not_durable(why: str, setting: str) -> UnavailableError:
    return UnavailableError(f"events: redis {why}", hint=f"set `{setting}` in Redis, or HDRM_EVENTS=sqlite")
