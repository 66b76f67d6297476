"""The logs of events, each as the other, with real files and a real Redis."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from model.errors import UnavailableError
from service.events.event import Event
from service.events.log import EventLog
from service.events.mark import Mark
from service.events.record import Record, deletion_of, item_change, record_id, user_of
from service.events.redis import RedisLog
from service.events.sqlite import SqliteLog
from tests.service.conftest import RedisServer

OpenLog = Callable[[], EventLog]


@pytest.fixture(params=["sqlite", "redis"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> OpenLog:
    """Opens the same log again and again, as different processes do."""
    if request.param == "sqlite":
        return lambda: SqliteLog(tmp_path / "deep" / "events.sqlite")
    redis: RedisServer = request.getfixturevalue("durable_redis")
    return lambda: RedisLog(redis.url, write_seconds=10, read_seconds=10)


def events(first: int, stop: int) -> list[Event]:
    return [
        Event(f"e{number}", f"u{number % 7}", f"i{number}", "view", float(number), 0.5) for number in range(first, stop)
    ]


@asynccontextmanager
async def opened(*open_logs: OpenLog) -> AsyncIterator[list[EventLog]]:
    async with AsyncExitStack() as stack:
        logs = [open_log() for open_log in open_logs]
        for log in logs:
            stack.push_async_callback(log.close)
        yield logs


def test_every_follower_is_told_all_that_was_acknowledged_before_it_asks(open_log: OpenLog) -> None:
    async def run() -> None:
        async with opened(open_log, open_log) as logs:
            told: list[list[Record]] = [[], []]
            followers = [log.follow(one.extend) for log, one in zip(logs, told, strict=True)]
            kept = list[Record]()
            for number in range(100):
                new = events(3 * number, 3 * number + 3)
                assert await logs[number % 2].append(new) == [True] * 3
                kept += new
                for follower, one in zip(followers, told, strict=True):
                    await follower.catch_up()
                    assert one == kept
            late = list[Record]()
            follower = logs[0].follow(late.extend)
            await follower.catch_up()
            assert late == kept
            for one_follower in (*followers, follower):
                await one_follower.close()

    asyncio.run(run())


def test_a_follower_begins_behind_a_place_and_ends_with_one(open_log: OpenLog) -> None:
    async def run() -> None:
        async with opened(open_log, open_log) as (one, other):

            async def told(after: str | None = None, until: str | None = None) -> tuple[list[Record], str]:
                records = list[Record]()
                follower = other.follow(records.extend, after=after, until=until)
                await follower.catch_up()
                await follower.close()
                return records, follower.position

            nothing, start = await told()
            assert nothing == []
            await one.append(events(0, 2500))
            early, place = await told()
            await one.append(events(2500, 3800))
            assert early == events(0, 2500)
            assert await told(until=start) == ([], start)
            assert await told(until=place) == (early, place)
            late, end = await told(after=place)
            assert late == events(2500, 3800)
            assert await told(after=end) == ([], end)
            assert await told(after=start, until=end) == (events(0, 3800), end)
            # what is at the place itself may be gone later
            last = user_of(early[-1])
            assert last is not None
            await one.delete_user(deletion_of(last, timestamp=1.0))
            assert (await told(until=place))[0] == [event for event in early if user_of(event) != last]
            assert len((await told(after=place))[0]) == 1 + sum(user_of(event) != last for event in late)

    asyncio.run(run())


def test_an_event_is_kept_once_however_often_and_where_it_is_reported(open_log: OpenLog) -> None:
    async def run() -> None:
        async with opened(open_log, open_log) as (one, other):
            [first, *_] = events(0, 3)
            assert await one.append(events(0, 3)) == [True] * 3
            assert await other.append([first, *events(3, 4), first]) == [False, True, False]
            batches = await asyncio.gather(*(log.append(events(10, 30)) for log in (one, other) for _ in range(5)))
            assert [sum(new) for new in zip(*batches, strict=True)] == [1] * 20
            told = list[Record]()
            follower = one.follow(told.extend)
            await follower.catch_up()
            await follower.close()
            assert sorted(told, key=lambda record: record.timestamp) == [*events(0, 4), *events(10, 30)]

    asyncio.run(run())


def test_a_deleted_user_has_no_events_and_everybody_is_told(open_log: OpenLog) -> None:
    async def run() -> None:
        async with opened(open_log, open_log) as (one, other):
            change = item_change("i1", {"title": "Ö", "hidden": True}, creates=False, timestamp=1.0)
            kept = events(0, 14)
            told, late = list[Record](), list[Record]()
            follower = other.follow(told.extend)
            await one.append([*kept, change])
            await follower.catch_up()
            assert told == [*kept, change]
            assert await other.of_user("u3") == [kept[3], kept[10]]
            assert await other.of_user("nobody") == []
            first, second, nobody = (deletion_of(user, timestamp=2.0) for user in ("u3", "u3", "nobody"))
            assert [await one.delete_user(deletion) for deletion in (first, second, nobody)] == [2, 0, 0]
            assert await other.of_user("u3") == []
            await follower.catch_up()
            # one deletion of a user stands for all before it
            assert told == [*kept, change, second, nobody]
            rest = [event for event in kept if event.user_id != "u3"]
            assert await other.append([kept[3], kept[4]]) == [True, False]
            anew = one.follow(late.extend)
            await anew.catch_up()
            assert late == [*rest, change, second, nobody, kept[3]]
            assert await one.of_user("u3") == [kept[3]]
            for each in (follower, anew):
                await each.close()

    asyncio.run(run())


def test_what_was_deleted_is_not_in_the_file(tmp_path: Path) -> None:
    async def run() -> None:
        log = SqliteLog(tmp_path / "events.sqlite")
        await log.append([Event("e1", "somebody", "a secret item", "view", 1.0)])
        await log.delete_user(deletion_of("somebody", timestamp=2.0))
        for path in tmp_path.iterdir():
            assert b"a secret item" not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0
        await log.close()

    asyncio.run(run())
    assert (tmp_path / "events.sqlite").exists()


def test_a_redis_that_ceases_to_write_to_its_disk_is_noticed(durable_redis: RedisServer) -> None:
    async def run() -> None:
        log = RedisLog(durable_redis.url, write_seconds=10, read_seconds=10)
        await log.append(events(0, 1))
        durable_redis.command(b"CONFIG", b"SET", b"appendonly", b"no")
        for _ in range(2):
            with pytest.raises(UnavailableError, match="redis"):
                await log.append(events(1, 2))
        durable_redis.command(b"CONFIG", b"SET", b"appendonly", b"yes")
        await log.append(events(1, 2))
        await log.close()

    asyncio.run(run())


def test_more_than_a_page_is_read_at_once(open_log: OpenLog) -> None:
    async def run() -> None:
        async with opened(open_log) as (log,):
            for count in (2000, 2500, 2501):  # whole pages, and parts of one
                await log.append(events(0, count))
                told = list[Record]()
                follower = log.follow(told.extend)
                await follower.catch_up()
                assert told == events(0, count)
                await follower.close()

    asyncio.run(run())


def test_those_that_ask_at_the_same_time_are_all_told(open_log: OpenLog) -> None:
    async def run() -> None:
        async with opened(open_log) as (log,):
            told = list[Record]()
            follower = log.follow(told.extend)

            async def one(number: int) -> None:
                await log.append(events(number, number + 1))
                await follower.catch_up()
                assert events(number, number + 1)[0] in told

            await asyncio.gather(*map(one, range(200)))
            assert len(told) == 200
            await follower.close()

    asyncio.run(run())


APPENDER = """
import asyncio, sys
from pathlib import Path
from service.events.event import Event
from service.events.redis import RedisLog
from service.events.sqlite import SqliteLog
place = sys.argv[1]
async def run():
    log = RedisLog(place, write_seconds=10, read_seconds=10) if "://" in place else SqliteLog(Path(place))
    for number in range(10**6):
        await log.append([Event(f"{sys.argv[2]} {number} {part}", "u", "i", "view", 0.0) for part in range(3)])
        print(number, flush=True)
asyncio.run(run())
"""


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_what_was_acknowledged_is_there_when_the_process_was_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """And of what was not, all or nothing."""
    place = str(tmp_path / "events.sqlite")
    if kind == "redis":
        redis: RedisServer = request.getfixturevalue("durable_redis")
        place = redis.url
    acknowledged = list[str]()
    for life in range(5):
        appender = subprocess.Popen(
            [sys.executable, "-c", APPENDER, place, str(life)], stdout=subprocess.PIPE, text=True
        )
        assert appender.stdout is not None
        for _ in range(10):
            acknowledged.append(f"{life} {appender.stdout.readline().strip()}")
        time.sleep(0.003 * life)
        appender.kill()
        acknowledged += [f"{life} {line.strip()}" for line in appender.communicate()[0].splitlines()]
        if kind == "redis":
            redis.kill()
            redis.start()

    async def run() -> None:
        log = RedisLog(place, write_seconds=10, read_seconds=10) if kind == "redis" else SqliteLog(Path(place))
        told = list[Record]()
        follower = log.follow(told.extend)
        await follower.catch_up()
        ids = [record_id(record) for record in told]
        assert len(set(ids)) == len(ids)
        assert {f"{batch} {part}" for batch in acknowledged for part in range(3)} <= set(ids)
        whole = {event_id.rpartition(" ")[0] for event_id in ids}
        assert len(ids) == 3 * len(whole)
        await follower.close()
        await log.close()

    asyncio.run(run())


def test_a_log_out_of_reach_acknowledges_nothing_and_goes_on_when_it_is_back(durable_redis: RedisServer) -> None:
    async def run() -> None:
        log = RedisLog(durable_redis.url, write_seconds=0.5, read_seconds=0.5)
        told = list[Record]()
        follower = log.follow(told.extend)
        assert await log.append(events(0, 2)) == [True] * 2
        durable_redis.hang()
        with pytest.raises(UnavailableError, match="not kept by redis"):
            await log.append(events(2, 4))
        with pytest.raises(UnavailableError, match="cannot be read"):
            await follower.catch_up()
        durable_redis.wake()
        # what was given up may have been kept: reported again it is told to be, or kept now
        again = await log.append(events(2, 5))
        assert again[2] is True
        await follower.catch_up()
        assert told == events(0, 5)
        durable_redis.kill()
        with pytest.raises(UnavailableError, match="not kept by redis"):
            await log.append(events(5, 6))
        durable_redis.start()
        assert await log.append(events(0, 6)) == [False] * 5 + [True]
        await follower.catch_up()
        assert told == events(0, 6)
        await follower.close()
        await log.close()

    asyncio.run(run())


def test_a_file_that_is_no_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    path.write_bytes(b"something else, and long enough to be told from an empty database" * 20)
    with pytest.raises(UnavailableError, match=r"events\.sqlite: events cannot be kept there"):
        SqliteLog(path)


def test_a_full_or_locked_file_acknowledges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.events.sqlite.BUSY_SECONDS", 0.1)

    async def run() -> None:
        log = SqliteLog(tmp_path / "events.sqlite")
        told = list[Record]()
        follower = log.follow(told.extend)
        other = sqlite3.connect(tmp_path / "events.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            await log.append(events(0, 2))
        await follower.catch_up()
        assert told == []
        other.execute("ROLLBACK")
        other.close()
        assert await log.append(events(0, 2)) == [True] * 2
        await follower.catch_up()
        assert told == events(0, 2)
        await follower.close()
        await log.close()

    asyncio.run(run())


def test_a_log_that_was_put_back_is_read_all_the_same(tmp_path: Path) -> None:
    """The mark beside the file is of a longer log, then of a shorter one, then gone."""

    async def run() -> None:
        path = tmp_path / "events.sqlite"
        for count, mark in ((3, 100), (4, 1), (5, None)):
            beside = path.with_name("events.sqlite-mark")
            if mark is None:
                beside.unlink()
            elif beside.exists():
                number = Mark(beside)
                number.value = mark
                number.close()
            log = SqliteLog(path)
            told = list[Record]()
            follower = log.follow(told.extend)
            await follower.catch_up()
            await log.append(events(0, count))
            await follower.catch_up()
            assert told == events(0, count)
            await follower.close()
            await log.close()

    asyncio.run(run())


def test_a_mark_is_shared(tmp_path: Path) -> None:
    one, other = Mark(tmp_path / "mark"), Mark(tmp_path / "mark")
    assert other.value == 0
    one.value = 2**40
    assert other.value == 2**40
    one.close()
    assert other.value == Mark(tmp_path / "mark").value == 2**40
    other.close()


def test_the_loop_turns_while_a_long_log_is_read(tmp_path: Path) -> None:
    async def run() -> None:
        log = SqliteLog(tmp_path / "events.sqlite")
        await log.append([Event(str(n), f"u{n % 7}", "i", "view", float(n)) for n in range(2500)])
        told, turns = list[str](), list[int]()

        async def count() -> None:
            while True:
                turns.append(len(told))
                await asyncio.sleep(0)

        follower = log.follow(lambda records: told.extend(map(record_id, records)))
        counting = asyncio.create_task(count())
        await asyncio.gather(follower.catch_up(), follower.catch_up())  # two who ask at once are told all once
        counting.cancel()
        assert told == [str(n) for n in range(2500)]
        assert len(set(turns)) > 10
        await follower.close()
        await log.close()

    asyncio.run(run())
