"""The two caches behind their common interface."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from model.errors import ConfigError
from service.cache import Cache, LayeredCache, MemoryCache, RedisCache, create_cache
from service.settings import Settings, load_settings
from tests.service.conftest import RedisServer, free_port


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def redis_cache(url: str, clock: Time, timeout: float = 1.0) -> AsyncIterator[RedisCache]:
    cache = RedisCache(url, ttl_seconds=60, timeout_seconds=timeout, clock=clock)
    try:
        yield cache
    finally:
        await cache.close()


async def check_contract(cache: Cache) -> None:
    assert await cache.get("a") is None
    await cache.set("a", b"1")
    await cache.set("b", b"")
    await cache.set("a", b"\x00\xff" * 1000)
    assert await cache.get("a") == b"\x00\xff" * 1000
    assert await cache.get("b") == b""
    assert await cache.get("c") is None
    assert not cache.degraded
    await cache.close()


def test_memory_keeps_what_it_is_given() -> None:
    asyncio.run(check_contract(MemoryCache(10_000, 60)))


def test_redis_keeps_what_it_is_given(redis: RedisServer) -> None:
    asyncio.run(check_contract(RedisCache(redis.url, ttl_seconds=60, timeout_seconds=1)))


def test_memory_is_bounded_and_forgets_the_least_recently_used() -> None:
    async def run() -> None:
        cache = MemoryCache(4000, 60)
        for number in range(3):
            await cache.set(f"{number}", b"x" * 1000)
        assert await cache.get("0") is not None  # now "1" is the oldest
        await cache.set("3", b"x" * 1000)
        assert [await cache.get(key) is not None for key in "0123"] == [True, False, True, True]
        await cache.set("huge", b"x" * 4000)
        assert await cache.get("huge") is None
        for number in range(1000):
            await cache.set(f"{number}", b"x" * (number % 700))
            assert cache.size <= 4000
        assert len(cache) > 3
        await cache.close()
        assert cache.size == len(cache) == 0

    asyncio.run(run())


def test_memory_forgets_with_age() -> None:
    async def run() -> None:
        clock = Time()
        cache = MemoryCache(10_000, 60, clock=clock)
        await cache.set("a", b"1")
        clock.now += 59.9
        assert await cache.get("a") == b"1"
        clock.now += 0.1
        assert await cache.get("a") is None
        assert cache.size == 0

    asyncio.run(run())


def test_what_is_made_at_one_time_does_not_expire_at_one_time() -> None:
    async def run() -> None:
        clock = Time()
        cache = MemoryCache(10**6, 100, jitter=0.1, clock=clock)
        for number in range(200):
            cache.put(str(number), b"1")
        left = []
        for seconds in (89.9, 5.0, 5.2):
            clock.now += seconds
            left.append(sum([await cache.get(str(number)) is not None for number in range(200)]))
        assert left[0] == 200
        assert 0 < left[1] < 200
        assert left[2] == 0

    asyncio.run(run())


def test_layers_are_asked_in_turn_and_filled_from_behind() -> None:
    async def run() -> None:
        counted: list[tuple[str, str]] = []
        front, behind = MemoryCache(10_000, 60), MemoryCache(10_000, 60)
        cache = LayeredCache([front, behind], lambda backend, outcome: counted.append((backend, outcome)))
        await behind.set("a", b"1")
        assert await cache.get("a") == await front.get("a") == b"1"
        assert await cache.get("a") == b"1"
        assert await cache.get("b") is None
        assert [outcome for _, outcome in counted] == ["miss", "hit", "hit", "miss", "miss"]
        cache.put("c", b"3")
        assert await front.get("c") == await behind.get("c") == b"3"
        await cache.close()

    asyncio.run(run())


def test_the_process_answers_before_redis_and_while_it_is_gone(redis: RedisServer) -> None:
    async def run() -> None:
        cache = create_cache(Settings.model_validate({"redis_url": redis.url}))
        await cache.set("a", b"1")
        redis.stop()
        assert await cache.get("a") == b"1"
        assert not cache.degraded
        assert await cache.get("b") is None
        assert cache.degraded
        await cache.close()

    asyncio.run(run())


def test_redis_gets_what_nobody_waited_to_be_kept(redis: RedisServer) -> None:
    async def run() -> None:
        async with redis_cache(redis.url, Time(), timeout=5.0) as cache:
            asked = asyncio.create_task(cache.get("a"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)  # it is on its way, and Redis has nothing
            cache.put("a", b"1")
            assert await asked == b"1"
            assert await cache.get("a") == b"1"

    asyncio.run(run())
    assert redis.command(b"EXISTS", b"a") == b":1\r\n"


def test_a_memory_bound_of_zero_keeps_nothing() -> None:
    async def run() -> None:
        cache = MemoryCache(0, 60)
        await cache.set("a", b"1")
        assert await cache.get("a") is None

    asyncio.run(run())


def test_redis_is_told_when_to_forget(redis: RedisServer) -> None:
    async def run() -> None:
        async with redis_cache(redis.url, Time()) as cache:
            await cache.set("a", b"1")

    asyncio.run(run())
    assert redis.command(b"TTL", b"a") in (b":60\r\n", b":59\r\n")


def test_a_redis_that_refuses_to_keep_still_gives_what_it_has(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with redis_cache(redis.url, Time()) as cache:
            await cache.set("a", b"1")
            redis.command(b"CONFIG", b"SET", b"maxmemory", b"1")  # and by default nothing is evicted
            for _ in range(3):
                cache.put("b", b"2")
                assert await cache.get("a") == b"1"
                assert not cache.degraded
            assert await cache.get("b") is None
            redis.command(b"CONFIG", b"SET", b"maxmemory", b"0")
            await cache.set("b", b"2")
            assert await cache.get("b") == b"2"

    asyncio.run(run())
    assert [record.message for record in caplog.records] == ["cache: redis refuses to keep answers (OutOfMemoryError)"]


def test_redis_forgets_what_is_made_at_one_time_at_different_times(redis: RedisServer) -> None:
    async def run() -> None:
        cache = RedisCache(redis.url, ttl_seconds=1000, timeout_seconds=1.0, jitter=0.1)
        for number in range(20):
            cache.put(str(number), b"1")
        await cache.set("last", b"1")
        await cache.close()

    asyncio.run(run())
    left = [int(redis.command(b"TTL", b"%d" % number).strip(b":\r\n")) for number in range(20)]
    assert len(set(left)) > 1
    assert 890 < min(left) <= max(left) <= 1000


@pytest.mark.parametrize("damaged", [b"", b"short", b"x" * 100])
def test_values_that_are_not_ours_count_as_absent(redis: RedisServer, damaged: bytes) -> None:
    async def run() -> None:
        async with redis_cache(redis.url, Time()) as cache:
            redis.command(b"SET", b"a", damaged)
            assert await cache.get("a") is None
            redis.command(b"LPUSH", b"list", b"1")  # GET of it is an error reply
            assert await cache.get("list") is None
            assert not cache.degraded
            await cache.set("list", b"1")
            assert await cache.get("list") == b"1"

    asyncio.run(run())


def test_a_value_moved_to_another_key_counts_as_absent(redis: RedisServer) -> None:
    async def run() -> None:
        async with redis_cache(redis.url, Time()) as cache:
            await cache.set("a", b"1")
            redis.command(b"RENAME", b"a", b"b")
            assert await cache.get("b") is None
            assert not cache.degraded

    asyncio.run(run())


def test_after_a_failure_redis_is_left_alone_then_tried_once(redis: RedisServer) -> None:
    async def run() -> None:
        clock = Time()
        async with redis_cache(redis.url, clock) as cache:
            await cache.set("a", b"1")
            redis.stop()
            assert await cache.get("a") is None
            assert cache.degraded
            redis.start()
            await cache.set("a", b"2")
            assert cache.degraded  # the second is not over: not even tried
            clock.now += 1.0
            await cache.set("a", b"3")
            assert not cache.degraded
            assert await cache.get("a") == b"3"

    asyncio.run(run())


def test_a_redis_that_hangs_costs_one_time_out(redis: RedisServer) -> None:
    async def run() -> None:
        clock = Time()
        async with redis_cache(redis.url, clock, timeout=0.2) as cache:
            await asyncio.gather(*(cache.set(str(n), b"1") for n in range(10)))
            redis.hang()
            started = asyncio.get_running_loop().time()
            assert await cache.get("1") is None
            assert cache.degraded
            for _ in range(1000):
                assert await cache.get("1") is None
            clock.now += 1.0
            await asyncio.gather(*(cache.get("1") for _ in range(1000)))  # one of them tries
            assert asyncio.get_running_loop().time() - started < 1000 * 0.2 / 4
            redis.wake()
            clock.now += 1.0
            assert await cache.get("1") == b"1"
            assert not cache.degraded

    asyncio.run(run())


def test_an_address_that_does_not_resolve_or_answer_fails_no_request() -> None:
    async def run() -> None:
        for url in ("redis://no-such-host.invalid:6379/0", f"redis://127.0.0.1:{free_port()}/0", "unix:///no/socket"):
            async with redis_cache(url, Time(), timeout=0.3) as cache:
                await cache.set("a", b"1")
                assert await cache.get("a") is None
                assert cache.degraded

    asyncio.run(run())


def test_many_requests_at_once_are_no_failure(redis: RedisServer) -> None:
    async def run() -> None:
        async with redis_cache(redis.url, Time(), timeout=5.0) as cache:
            await cache.set("a", b"1")
            assert set(await asyncio.gather(*(cache.get("a") for _ in range(500)))) == {b"1"}

    asyncio.run(run())


def test_the_url_and_its_password_are_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    secret = "redis://:swordfish@127.0.0.1:1/0"

    async def run() -> None:
        settings = Settings.model_validate({"redis_url": secret})
        assert "swordfish" not in repr(settings) + str(settings) + settings.model_dump_json()
        cache = create_cache(settings)
        assert await cache.get("a") is None
        assert "swordfish" not in repr(cache)
        await cache.close()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert any("going on without redis" in message for message in caplog.messages)
    assert "swordfish" not in caplog.text


@pytest.mark.parametrize("rest", ["host:port/0", "host:99999999/0", "host/0?foo=bar", "host/0?socket_timeout=x"])
def test_a_url_that_redis_cannot_use_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ConfigError, match=r"HDRM_REDIS_URL: .*not a valid Redis URL") as raised:
        load_settings(redis_url=f"redis://:swordfish@{rest}")
    assert "swordfish" not in str(raised.value)
    assert raised.value.__context__ is None
