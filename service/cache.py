"""The answer cache: Redis, or a bounded one in the process, behind one interface. A cache never fails a request."""

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from service.settings import Settings

__all__ = ["Cache", "MemoryCache", "RedisCache", "create_cache"]

Clock = Callable[[], float]

ENTRY_OVERHEAD = 250  # bytes of Python objects around one entry of the in-process cache, measured
BREAK_SECONDS = 1.0
DIGEST_SIZE = 16

logger = logging.getLogger("hdrm.service")


class Cache(Protocol):
    """Keeps bytes for a while. No operation raises; `degraded` says whether the last one was possible."""

    backend: Literal["memory", "redis"]

    @property
    def degraded(self) -> bool:
        """Whether requests go without the cache now."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The value kept under a key, None if there is none or the cache cannot be reached."""
        ...

    async def set(self, key: str, value: bytes) -> None:
        """Keep a value."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def create_cache(settings: Settings) -> Cache:
    """The cache that the settings ask for."""
    if settings.redis_url is None:
        return MemoryCache(settings.cache_max_bytes, settings.cache_ttl_seconds)
    return RedisCache(
        settings.redis_url.get_secret_value(),
        ttl_seconds=settings.cache_ttl_seconds,
        timeout_seconds=settings.redis_timeout_seconds,
    )


class MemoryCache:
    """Least recently used entries go first when the bound is reached.

    Args:
        max_bytes: bound of keys, values and their overhead together.
        ttl_seconds: age at which an entry is forgotten.
        clock: seconds, monotonic.
    """

    backend: Literal["memory", "redis"] = "memory"
    degraded = False

    def __init__(self, max_bytes: int, ttl_seconds: float, *, clock: Clock = time.monotonic) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value = entry
        if self._clock() >= expires:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def set(self, key: str, value: bytes) -> None:
        if key in self._entries:
            self._drop(key)
        if _cost(key, value) > self._max_bytes:
            return
        self._entries[key] = (self._clock() + self._ttl, value)
        self.size += _cost(key, value)
        while self.size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def close(self) -> None:
        self._entries.clear()
        self.size = 0

    def _drop(self, key: str) -> None:
        _, value = self._entries.pop(key)
        self.size -= _cost(key, value)


@dataclass(frozen=True, slots=True)
class _Command:
    words: tuple[str | bytes | int, ...]
    reply: "asyncio.Future[object]"

    def answer(self, reply: object) -> None:
        if not self.reply.done():  # its request may have been given up
            self.reply.set_result(reply)


class RedisCache:
    """Redis behind a short time-out and a breaker.

    Commands that come while others are under way go together in the next round trip, so there is one at a time
    whatever the load. After a failure Redis is left alone for a second; then one command tries it again, so neither
    a Redis that is gone nor one that hangs costs more than one time-out a second, and its return is noticed. Values
    carry a digest: what was cut, altered or written by something else counts as absent.

    Args:
        url: redis://, rediss:// or unix://, as checked by the settings.
        ttl_seconds: age at which Redis forgets an entry.
        timeout_seconds: longest time of one round trip, DNS and connecting included.
        clock: seconds, monotonic.
    """

    backend: Literal["memory", "redis"] = "redis"

    def __init__(self, url: str, *, ttl_seconds: int, timeout_seconds: float, clock: Clock = time.monotonic) -> None:
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2)
        self._ttl = ttl_seconds
        self._timeout = timeout_seconds
        self._clock = clock
        self._retry_at: float | None = None
        self._waiting: list[_Command] = []
        self._sender: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        return self._retry_at is not None

    async def get(self, key: str) -> bytes | None:
        sealed = await self._submit("GET", key)
        return _unseal(key, sealed) if isinstance(sealed, bytes) else None

    async def set(self, key: str, value: bytes) -> None:
        await self._submit("SET", key, _seal(key, value), "EX", self._ttl)

    async def close(self) -> None:
        if self._sender is not None:
            await self._sender
        await self._redis.aclose()

    async def _submit(self, *words: str | bytes | int) -> object:
        """Redis's reply, None if it gives none."""
        if self._retry_at is not None:
            if self._clock() < self._retry_at:
                return None
            self._retry_at = self._clock() + BREAK_SECONDS  # the others wait for the outcome of this one
        command = _Command(words, asyncio.get_running_loop().create_future())
        self._waiting.append(command)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        return await command.reply

    async def _send(self) -> None:
        while self._waiting:
            commands, self._waiting = self._waiting, []
            try:
                async with asyncio.timeout(self._timeout):
                    replies = await self._round_trip(commands)
            except Exception as error:  # whatever it is, answers go on
                await self._failed(error)
                commands, self._waiting = commands + self._waiting, []
                replies = [None] * len(commands)
            else:
                self._succeeded()
            for command, reply in zip(commands, replies, strict=True):
                command.answer(reply)

    async def _round_trip(self, commands: list[_Command]) -> list[object]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command.words)
        replies: list[object] = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            # a key that something else put a list or a set under is no failure of Redis
            if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
                raise reply
        return replies

    def _succeeded(self) -> None:
        if self._retry_at is not None:
            self._retry_at = None
            logger.info("cache: redis answers again")

    async def _failed(self, error: Exception) -> None:
        if self._retry_at is None:
            logger.warning("cache: going on without redis (%s)", type(error).__name__)
        self._retry_at = self._clock() + BREAK_SECONDS
        try:
            async with asyncio.timeout(self._timeout):
                await self._redis.connection_pool.disconnect()
        except Exception as closing:
            logger.debug("cache: closing connections failed (%s)", type(closing).__name__)


def _cost(key: str, value: bytes) -> int:
    return len(key) + len(value) + ENTRY_OVERHEAD


def _seal(key: str, value: bytes) -> bytes:
    return _digest(key, value) + value


def _unseal(key: str, sealed: bytes) -> bytes | None:
    value = sealed[DIGEST_SIZE:]
    return value if sealed[:DIGEST_SIZE] == _digest(key, value) else None


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=DIGEST_SIZE, key=key.encode()[-64:]).digest()
