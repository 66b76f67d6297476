"""Queries answered together: the same answers as alone, and an end for every one of them, whatever happens."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.artifact import Artifact
from service.app import create_app
from service.batcher import Batcher
from service.engine import Engine
from service.errors import Problem
from service.pace import LOOP_SECONDS, Pace, measure_pace
from service.query import NOTHING, Query, Shape
from service.registry import Loaded
from service.requests import RecommendRequest
from service.settings import Settings
from service.worker import Worker
from tests.service.conftest import ITEMS, USERS, converse

IN_LOOP = Pace(batch=0.0, query=0.0, item=0.0, excluded=0.0)
IN_THREAD = Pace(batch=1.0, query=0.0, item=0.0, excluded=0.0)
WRONG = np.array([10 * ITEMS], np.int32)  # there is no such item
BROKEN = Query(known=True, histories=(WRONG,), excluded=NOTHING, k=5, key="broken")


@asynccontextmanager
async def batching(
    make: Callable[[Sequence[Query]], list[bytes]], pace: Pace = IN_LOOP, **bounds: Any
) -> AsyncIterator[tuple[Batcher, Worker, dict[str, bytes]]]:
    """A batcher, its worker, and what it has kept."""
    worker, kept = Worker(threads=1), dict[str, bytes]()
    bounds = {"most": 64, "max_waiting": 1000, "deadline_seconds": 60.0} | bounds
    try:
        yield Batcher(make, kept.__setitem__, worker, pace=pace, **bounds), worker, kept
    finally:
        await asyncio.to_thread(worker.close)


def maker(engine: Engine) -> Callable[[Sequence[Query]], list[bytes]]:
    return lambda queries: engine.finish(queries, engine.infer(queries))


def ask_all(batcher: Batcher, queries: Sequence[Query]) -> Coroutine[Any, Any, list[bytes | BaseException]]:
    async def asked() -> list[bytes | BaseException]:
        return await asyncio.gather(*(batcher.ask(q, str(q.key)) for q in queries), return_exceptions=True)

    return asked()


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(1, 60), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 17),
    st.sampled_from([IN_LOOP, IN_THREAD, Pace(batch=LOOP_SECONDS / 2, query=LOOP_SECONDS / 8, item=0.0, excluded=0.0)]),
)
def test_answers_are_the_same_in_any_batch(
    artifact: Artifact, asked: list[tuple[int, int, bool]], most: int, pace: Pace
) -> None:
    engine = Engine(Loaded(artifact, 3))
    requests = [RecommendRequest(user_id=str(100 + user), k=k, exclude_seen=seen) for user, k, seen in asked]
    queries = engine.prepare(requests)

    async def run() -> list[bytes | BaseException]:
        async with batching(maker(engine), pace, most=most) as (batcher, _, kept):
            answers = await ask_all(batcher, queries)
            assert kept == {q.key: answer for q, answer in zip(queries, answers, strict=True)}
            return answers

    for query, answer in zip(queries, asyncio.run(run()), strict=True):
        assert answer == maker(engine)([query])[0]  # to the last digit


def test_ten_thousand_random_batches_answer_as_each_query_alone(artifact: Artifact) -> None:
    engine, generator = Engine(Loaded(artifact, 3)), np.random.default_rng(0)
    asked = [(user, k, seen) for user in range(USERS) for k in (1, 7, 60) for seen in (True, False)]
    queries = engine.prepare([RecommendRequest(user_id=str(100 + u), k=k, exclude_seen=seen) for u, k, seen in asked])
    alone = [maker(engine)([query])[0] for query in queries]
    for _ in range(10_000):
        batch = generator.integers(0, len(queries), generator.integers(1, 20)).tolist()
        assert maker(engine)([queries[place] for place in batch]) == [alone[place] for place in batch]


def test_a_query_alone_is_answered_at_once(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    first, second = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(2)])
    [expected] = maker(engine)([first])

    async def run() -> None:
        async with batching(maker(engine)) as (batcher, _, kept):
            asked = batcher.ask(first, "first", alone=lambda: True)
            with pytest.raises(StopIteration) as done:  # without the event loop having turned
                asked.send(None)
            assert done.value.value == expected
            assert kept == {"first": expected}
            with pytest.raises(IndexError):
                batcher.ask(BROKEN, "broken", alone=lambda: True).send(None)
            assert batcher.waiting == 0
            # not while others wait
            queued = asyncio.create_task(batcher.ask(second, "second"))
            joined = asyncio.create_task(batcher.ask(first, "again", alone=lambda: True))
            await asyncio.sleep(0)
            assert not joined.done()
            assert (await asyncio.gather(queued, joined))[1] == expected
        # nor where it would keep the loop from turning
        async with batching(maker(engine), IN_THREAD) as (batcher, _, _):
            slow = asyncio.create_task(batcher.ask(first, "first", alone=lambda: True))
            await asyncio.sleep(0)
            assert not slow.done()
            assert await slow == expected

    asyncio.run(run())


@pytest.mark.parametrize("pace", [IN_LOOP, IN_THREAD])
def test_a_query_that_fails_fails_alone(artifact: Artifact, pace: Pace) -> None:
    engine = Engine(Loaded(artifact, 3))
    good = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(6)])

    async def run() -> None:
        async with batching(maker(engine), pace) as (batcher, _, kept):
            answers = await ask_all(batcher, [*good[:3], BROKEN, *good[3:]])
            assert isinstance(answers.pop(3), Exception)
            assert all(isinstance(answer, bytes) for answer in answers)
            assert len(kept) == len(good)
            assert batcher.waiting == 0
            assert isinstance((await ask_all(batcher, good[:1]))[0], bytes)

    asyncio.run(run())


@pytest.mark.parametrize("pace", [IN_LOOP, IN_THREAD])
def test_queries_that_wait_together_are_one_batch_and_equal_ones_one_query(artifact: Artifact, pace: Pace) -> None:
    engine = Engine(Loaded(artifact, 3))
    batches: list[int] = []

    def make(queries: Sequence[Query]) -> list[bytes]:
        batches.append(len(queries))
        return maker(engine)(queries)

    async def run() -> None:
        async with batching(make, pace) as (batcher, _, _):
            queries = engine.prepare([RecommendRequest(user_id=str(100 + user % 5)) for user in range(500)])
            answers = await ask_all(batcher, queries)
            assert len(set(answers)) == 5

    asyncio.run(run())
    assert batches == [5]


def test_while_a_batch_runs_the_others_queue_and_make_the_next(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    batches: list[int] = []
    began, held = threading.Event(), threading.Event()

    def make(queries: Sequence[Query]) -> list[bytes]:
        batches.append(len(queries))
        began.set()
        held.wait(30)
        return maker(engine)(queries)

    async def run() -> None:
        queries = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(21)])
        async with batching(make, IN_THREAD, most=16) as (batcher, _, _):
            first = asyncio.create_task(batcher.ask(queries[0], str(queries[0].key)))
            await asyncio.to_thread(began.wait, 30)
            rest = asyncio.create_task(ask_all(batcher, queries[1:]))
            await asyncio.sleep(0.05)
            held.set()
            assert isinstance(await first, bytes)
            assert all(isinstance(answer, bytes) for answer in await rest)

    asyncio.run(run())
    assert batches == [1, 16, 4]


def test_a_full_queue_refuses_and_those_who_leave_make_room(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    queries = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(5)])
    held = threading.Event()

    async def run() -> None:
        async with batching(maker(engine), max_waiting=3) as (batcher, worker, _):
            blocker = asyncio.create_task(worker.run(held.wait, 30.0))  # counts as one that waits
            asked = [asyncio.create_task(batcher.ask(query, str(query.key))) for query in queries[:2]]
            await asyncio.sleep(0)
            with pytest.raises(Problem) as refused:
                await batcher.ask(queries[2], str(queries[2].key))
            assert (refused.value.status_code, refused.value.code) == (503, "overloaded")
            assert refused.value.headers == {"Retry-After": "1"}
            asked[0].cancel()
            await asyncio.sleep(0)
            asked.append(asyncio.create_task(batcher.ask(queries[3], str(queries[3].key))))
            await asyncio.sleep(0.01)
            assert batcher.waiting == 2
            held.set()
            assert await blocker
            assert all(isinstance(answer, bytes) for answer in await asyncio.gather(*asked[1:]))
            assert batcher.waiting == 0

    asyncio.run(run())


def test_a_deadline_ends_the_waiting_and_not_the_others(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    queries = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(40)])
    held = threading.Event()

    async def run() -> None:
        async with batching(maker(engine), deadline_seconds=0.05, most=4) as (batcher, worker, _):
            blocker = asyncio.create_task(worker.run(held.wait, 30.0))
            for error in await ask_all(batcher, queries):
                assert isinstance(error, Problem)
                assert (error.status_code, error.code) == (503, "deadline_passed")
            assert batcher.waiting == 0
            held.set()
            assert await blocker
        async with batching(maker(engine)) as (batcher, _, _):
            assert isinstance((await ask_all(batcher, queries))[0], bytes)

    asyncio.run(run())


def test_deadlines_are_kept_while_a_batch_hangs_that_nobody_waits_for_any_more(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    queries = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(2)])
    held = threading.Event()

    def make(queries: Sequence[Query]) -> list[bytes]:
        assert held.wait(30.0)
        return maker(engine)(queries)

    async def run() -> None:
        async with batching(make, IN_THREAD, deadline_seconds=0.05) as (batcher, worker, _):
            for asked in (queries[:1], queries, queries[:1]):  # those of the batch, others, and both again
                async with asyncio.timeout(10):
                    for error in await ask_all(batcher, asked):
                        assert isinstance(error, Problem)
                        assert error.code == "deadline_passed"
                await asyncio.sleep(0.05)
            assert worker.pending == 1  # all the while
            held.set()

    asyncio.run(run())


def test_one_who_leaves_takes_the_answer_from_nobody(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    [query] = engine.prepare([RecommendRequest(user_id="100")])
    held = threading.Event()

    async def run() -> None:
        async with batching(maker(engine)) as (batcher, worker, _):
            blocker = asyncio.create_task(worker.run(held.wait, 30.0))
            asked = [asyncio.create_task(batcher.ask(query, "one")) for _ in range(3)]
            await asyncio.sleep(0.01)
            asked[0].cancel()
            await asyncio.sleep(0)
            assert batcher.waiting == 2
            held.set()
            assert await blocker
            assert len({*await asyncio.gather(*asked[1:])}) == 1
            assert batcher.waiting == 0

    asyncio.run(run())


def test_a_thread_that_is_gone_is_an_error_and_not_a_wait(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    queries = engine.prepare([RecommendRequest(user_id=str(100 + user)) for user in range(3)])

    async def run() -> None:
        async with batching(maker(engine), IN_THREAD) as (batcher, worker, _):
            worker.close()
            assert all(isinstance(answer, RuntimeError) for answer in await ask_all(batcher, queries))
            assert not await worker.responds(1.0)

    asyncio.run(run())


def test_readiness_asks_the_worker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.routes.health.RESPONSE_SECONDS", 0.1)
    app = create_app(settings)
    held = threading.Event()

    async def exchange(client: httpx.AsyncClient) -> None:
        worker = app.framework.state.roster.current.answers.worker
        assert (await client.get("/readyz")).status_code == 200
        blocker = asyncio.create_task(worker.run(held.wait, 30.0))
        await asyncio.sleep(0)
        hung = await client.get("/readyz")
        assert (hung.status_code, hung.json()["code"]) == (503, "worker_unresponsive")
        assert hung.headers["retry-after"] == "1"
        held.set()
        assert await blocker
        assert (await client.get("/readyz")).status_code == 200
        worker.close()
        assert (await client.get("/readyz")).status_code == 503

    converse(app, exchange)


def test_many_that_take_longer_do_not_hold_up_the_others(artifact: Artifact) -> None:
    """Those are answered one in a batch, all others of a batch together."""
    engine = Engine(Loaded(artifact, 3))
    sizes = list[tuple[int, int]]()

    def make(queries: Sequence[Query]) -> list[bytes]:
        sizes.append((sum(query.is_plain for query in queries), len(queries)))
        return engine.finish(queries, engine.infer(queries))

    async def exchange() -> None:
        async with batching(make, most=64, max_waiting=100, deadline_seconds=30.0) as (batcher, _, _):
            wishes = [RecommendRequest(user_id=str(100 + n), novelty=0.5) for n in range(10)]
            plain = [RecommendRequest(user_id=str(100 + n)) for n in range(20)]
            queries = engine.prepare([*wishes, *plain])
            await asyncio.gather(*(batcher.ask(query, str(n)) for n, query in enumerate(queries)))

    asyncio.run(exchange())
    assert sizes == [(20, 21)] + [(0, 1)] * 9


def test_a_pace_says_how_long_a_batch_takes() -> None:
    queries = [Query(known=True, histories=(WRONG,), excluded=WRONG, k=k, key=str(k)) for k in (10, 20)]
    pace = Pace(batch=1.0, query=0.5, item=0.1, excluded=0.01)
    assert pace.seconds(queries[:1]) == pytest.approx(2.51)
    assert pace.seconds(queries) == pytest.approx(5.02)
    many = np.arange(300, dtype=np.int32)
    long = Query(known=True, histories=(many,), excluded=many, k=10, key="long")
    assert pace.seconds([long]) == pytest.approx(5.5)
    wishful = replace(long, shape=Shape(novelty=0.5))
    assert pace.seconds([long, wishful]) == math.inf


def test_a_measured_pace_is_a_time(artifact: Artifact) -> None:
    pace = asyncio.run(measure_pace(Engine(Loaded(artifact, 3))))
    assert 0 < pace.batch + pace.query < 10
    assert pace.query >= 0
    assert pace.item >= 0
    assert pace.excluded >= 0
