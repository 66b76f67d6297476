"""The answer cache: a bounded one in the process, Redis behind it if there is one. A cache never fails a request."""

import asyncio
import hashlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from service.settings import Settings

__all__ = ["JITTER", "Cache", "Count", "LayeredCache", "MemoryCache", "RedisCache", "create_cache"]

Backend = Literal["memory", "redis"]
Clock = Callable[[], float]
Count = Callable[[Backend, Literal["hit", "miss", "error"]], None]

ENTRY_OVERHEAD = 250  # bytes of Python objects around one entry of the in-process cache, measured
BREAK_SECONDS = 1.0
JITTER = 0.1  # what is made at one time must not expire at one time
DIGEST_SIZE = 16
CHECKED_KEY = "hdrm:check"  # under which there is nothing
MOST_SETS = 4096  # that wait for one round trip; a cache may forget

logger = logging.getLogger("hdrm.service")


class Cache(Protocol):
    """Keeps bytes for a while. No operation raises; `degraded` says whether the last one was possible."""

    backend: Backend

    @property
    def degraded(self) -> bool:
        """Whether requests go without the cache now."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The value kept under a key, None if there is none or the cache cannot be reached."""
        ...

    async def set(self, key: str, value: bytes) -> None:
        """Keep a value; returns when it is kept."""
        ...

    def put(self, key: str, value: bytes) -> None:
        """Keep a value, soon; nobody waits for it."""
        ...

    async def check(self) -> None:
        """Find out whether it can be reached, so that `degraded` is of now."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


def _uncounted(backend: Backend, outcome: Literal["hit", "miss", "error"]) -> None:
    pass


def create_cache(settings: Settings, count: Count = _uncounted) -> Cache:
    """The cache that the settings ask for; `count` is told the outcome of every lookup."""
    ttl = settings.cache_ttl_seconds
    layers: list[Cache] = []
    if settings.cache_max_bytes or settings.redis_url is None:
        layers.append(MemoryCache(settings.cache_max_bytes, ttl, jitter=JITTER))
    if settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
        timeout = settings.redis_timeout_seconds
        layers.append(RedisCache(url, ttl_seconds=ttl, timeout_seconds=timeout, jitter=JITTER))
    return LayeredCache(layers, count)


class LayeredCache:
    """Caches that are asked one after the other until one has the value, which those before it then keep too.

    Args:
        layers: nearest first, at least one.
        count: told the outcome of every lookup.
    """

    def __init__(self, layers: Sequence[Cache], count: Count = _uncounted) -> None:
        self.backend: Backend = layers[-1].backend
        self._layers = layers
        self._count = count

    @property
    def degraded(self) -> bool:
        return self._layers[-1].degraded

    async def get(self, key: str) -> bytes | None:
        for depth, layer in enumerate(self._layers):
            value = await layer.get(key)
            if value is not None:
                self._count(layer.backend, "hit")
                for missed in self._layers[:depth]:
                    missed.put(key, value)
                return value
            self._count(layer.backend, "error" if layer.degraded else "miss")
        return None

    async def set(self, key: str, value: bytes) -> None:
        for layer in self._layers:
            await layer.set(key, value)

    def put(self, key: str, value: bytes) -> None:
        for layer in self._layers:
            layer.put(key, value)

    async def check(self) -> None:
        await self._layers[-1].check()

    async def close(self) -> None:
        for layer in self._layers:
            await layer.close()


class MemoryCache:
    """Least recently used entries go first when the bound is reached.

    Args:
        max_bytes: bound of keys, values and their overhead together.
        ttl_seconds: age at which an entry is forgotten.
        jitter: greatest part of that age, at random, by which it is forgotten earlier.
        clock: seconds, monotonic.
    """

    backend: Backend = "memory"
    degraded = False

    def __init__(
        self, max_bytes: int, ttl_seconds: float, *, jitter: float = 0.0, clock: Clock = time.monotonic
    ) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._ttl = ttl_seconds
        self._jitter = jitter
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
        self.put(key, value)

    def put(self, key: str, value: bytes) -> None:
        if key in self._entries:
            self._drop(key)
        if _cost(key, value) > self._max_bytes:
            return
        self._entries[key] = (self._clock() + _shortened(self._ttl, self._jitter), value)
        self.size += _cost(key, value)
        while self.size > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def check(self) -> None:
        return

    async def close(self) -> None:
        self._entries.clear()
        self.size = 0

    def _drop(self, key: str) -> None:
        _, value = self._entries.pop(key)
        self.size -= _cost(key, value)


class RedisCache:
    """Redis behind a short time-out and a breaker.

    What is asked while a round trip is under way goes together in the next one, as one MGET and the SETs before it,
    so there is one at a time whatever the load. After a failure Redis is left alone for a second; then one command
    tries it again, so neither a Redis that is gone nor one that hangs costs more than one time-out a second, and its
    return is noticed. Values carry a digest: what was cut, altered or written by something else counts as absent.

    Args:
        url: redis://, rediss:// or unix://, as checked by the settings.
        ttl_seconds: age at which Redis forgets an entry.
        timeout_seconds: longest time of one round trip, DNS and connecting included.
        jitter: greatest part of the age, at random, by which an entry is forgotten earlier.
        clock: seconds, monotonic.

    Attributes:
        refuses: whether Redis did not keep what it was last given, although it answers.
    """

    backend: Backend = "redis"

    def __init__(
        self,
        url: str,
        *,
        ttl_seconds: int,
        timeout_seconds: float,
        jitter: float = 0.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0), protocol=2)
        self._ttl = ttl_seconds
        self._timeout = timeout_seconds
        self._jitter = jitter
        self._clock = clock
        self._retry_at: float | None = None
        self._gets: dict[str, list[asyncio.Future[bytes | None]]] = {}  # waiting, by key
        self._sets: dict[str, bytes] = {}
        self._sender: asyncio.Task[None] | None = None
        self.refuses = False

    @property
    def degraded(self) -> bool:
        return self._retry_at is not None

    async def get(self, key: str) -> bytes | None:
        if self._left_alone():
            return None
        reply: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._gets.setdefault(key, []).append(reply)
        self._send_soon()
        return await reply

    async def set(self, key: str, value: bytes) -> None:
        self.put(key, value)
        if self._sender is not None:
            await asyncio.shield(self._sender)

    def put(self, key: str, value: bytes) -> None:
        if not self._left_alone() and len(self._sets) < MOST_SETS:
            self._sets[key] = value
            self._send_soon()

    async def check(self) -> None:
        await self.get(CHECKED_KEY)

    async def close(self) -> None:
        if self._sender is not None:
            await self._sender
        await self._redis.aclose()

    def _left_alone(self) -> bool:
        """Whether nothing may be sent now; if something may after a failure, the others wait for its outcome."""
        if self._retry_at is None:
            return False
        now = self._clock()
        if now < self._retry_at:
            return True
        self._retry_at = now + BREAK_SECONDS
        return False

    def _send_soon(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._gets or self._sets:
            gets, self._gets = self._gets, {}
            sets, self._sets = self._sets, {}
            try:
                async with asyncio.timeout(self._timeout):
                    found = await self._round_trip(list(gets), sets)
            except Exception as error:  # whatever it is, answers go on
                await self._failed(error)
                for waiting in self._gets.values():  # they came while Redis was tried
                    _answer(waiting, None)
                self._gets, self._sets = {}, {}
                found = [None] * len(gets)
            else:
                self._succeeded()
            for (key, waiting), sealed in zip(gets.items(), found, strict=True):
                value = None if sealed is None else _unseal(key, sealed)
                # what was put meanwhile need not be made again
                _answer(waiting, self._sets.get(key) if value is None else value)

    async def _round_trip(self, keys: list[str], sets: dict[str, bytes]) -> list[bytes | None]:
        """What Redis has under the keys, after the values have been set."""
        if not sets:
            found: list[Any] = await self._redis.mget(keys)
            return found
        pipeline = self._redis.pipeline(transaction=False)
        for key, value in sets.items():
            seconds = max(1, round(_shortened(self._ttl, self._jitter)))
            pipeline.execute_command("SET", key, _seal(key, value), "EX", seconds)
        if keys:
            pipeline.execute_command("MGET", *keys)
        # a Redis that is full, or a replica, refuses to keep values and still has those it kept before
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        self._tell_refused(next((reply for reply in replies[: len(sets)] if isinstance(reply, RedisError)), None))
        if not keys:
            return []
        if isinstance(replies[-1], RedisError):
            raise replies[-1]
        return list(replies[-1])

    def _tell_refused(self, error: RedisError | None) -> None:
        if error is not None and not self.refuses:
            logger.warning("cache: redis refuses to keep answers (%s)", type(error).__name__)
        self.refuses = error is not None

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


def _answer(waiting: Sequence["asyncio.Future[bytes | None]"], value: bytes | None) -> None:
    for reply in waiting:
        if not reply.done():  # its request may have been given up
            reply.set_result(value)


def _shortened(seconds: float, jitter: float) -> float:
    return seconds * (1 - jitter * random.random())


def _seal(key: str, value: bytes) -> bytes:
    return _digest(key, value) + value


def _unseal(key: str, sealed: bytes) -> bytes | None:
    value = sealed[DIGEST_SIZE:]
    return value if sealed[:DIGEST_SIZE] == _digest(key, value) else None


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.blake2b(value, digest_size=DIGEST_SIZE, key=key.encode()[-64:]).digest()
