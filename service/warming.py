"""Answers put into the service's Redis before anybody asks."""

import asyncio
from collections.abc import Mapping, Sequence

from model.errors import ConfigError, UnavailableError
from service.bulk import Answered
from service.cache import JITTER, RedisCache
from service.settings import Settings

__all__ = ["Warming"]

ROUND_TRIP_SECONDS = 5.0  # nobody waits for an answer meanwhile, and many are sent together


class Warming:
    """Keeps answers where the service looks for them, and for as long. For who has no event loop.

    Args:
        settings: of the service.

    Attributes:
        kept: answers that Redis has taken.

    Raises:
        ConfigError: no Redis is set.
        UnavailableError: it cannot be reached.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.redis_url is None:
            raise ConfigError("there is no cache to warm", hint="set HDRM_REDIS_URL to the Redis of the service")
        url, ttl = settings.redis_url.get_secret_value(), settings.cache_ttl_seconds
        self.kept = 0
        self._loop = asyncio.Runner()
        self._cache = RedisCache(url, ttl_seconds=ttl, timeout_seconds=ROUND_TRIP_SECONDS, jitter=JITTER)
        self._loop.run(self._cache.check())
        if self._cache.degraded:
            self.close()
            raise UnavailableError("the cache cannot be warmed: redis does not answer", hint="check HDRM_REDIS_URL")

    def keep(self, answers: Sequence[Answered]) -> None:
        """Keep those that the service keeps; a Redis that fails costs time and nothing else."""
        cores = {answer.key: answer.core for answer in answers if answer.key is not None}
        if cores:
            self._loop.run(self._put(cores))
            if not (self._cache.degraded or self._cache.refuses):
                self.kept += len(cores)

    def close(self) -> None:
        """Release what it holds."""
        self._loop.run(self._cache.close())
        self._loop.close()

    async def _put(self, cores: Mapping[str, bytes]) -> None:
        *others, (last, core) = cores.items()
        for key, value in others:
            self._cache.put(key, value)
        await self._cache.set(last, core)  # one round trip for all, and returns after it
