"""How many requests a key may make: counted in Redis for all replicas, in the process where there is none."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

__all__ = ["Rates"]

PAUSE_SECONDS = 1.0  # for which a Redis that failed is left alone
PREFIX = "hdrm:rate"

logger = logging.getLogger("hdrm.service")


class Rates:
    """Counts requests in sliding windows. While Redis is out of reach each process counts for itself.

    Args:
        redis_url: as of the settings; None for no Redis.
        timeout_seconds: longest time that a request waits for Redis.
    """

    def __init__(self, redis_url: str | None, *, timeout_seconds: float) -> None:
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._timeout = timeout_seconds
        self._away_until = 0.0
        self._pool: ConnectionPool | None = None
        self._shared: SlidingWindowCounterRateLimiter | None = None
        if redis_url is not None:
            self._pool = ConnectionPool.from_url(redis_url, retry=Retry(NoBackoff(), 0), protocol=2)
            options: dict[str, Any] = {"connection_pool": self._pool}
            storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=PREFIX, **options)
            self._shared = SlidingWindowCounterRateLimiter(storage)

    async def wait_seconds(self, rate: RateLimitItem, who: str, requests: int = 1) -> float:
        """Count requests: 0 if they may be made, otherwise how long until one may be."""
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                async with asyncio.timeout(self._timeout):
                    return await _count(self._shared, rate, who, requests)
            except Exception as error:
                self._away_until = time.monotonic() + PAUSE_SECONDS
                logger.warning("rates: counting without redis (%s)", type(error).__name__)
                await self._disconnect()
        return await _count(self._own, rate, who, requests)

    async def close(self) -> None:
        """Release what it holds."""
        await self._disconnect()

    async def _disconnect(self) -> None:
        """A connection whose reply was given up must not be used again."""
        if self._pool is not None:
            with suppress(Exception):  # it is gone already
                async with asyncio.timeout(self._timeout):
                    await self._pool.disconnect()


async def _count(limiter: SlidingWindowCounterRateLimiter, rate: RateLimitItem, who: str, requests: int) -> float:
    if await limiter.hit(rate, who, cost=requests):
        return 0.0
    stats = await limiter.get_window_stats(rate, who)
    return max(stats.reset_time - time.time(), 0.001)
