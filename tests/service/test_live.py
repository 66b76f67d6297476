"""Histories with what happened since the model was trained."""

import asyncio
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.artifact import Artifact, Catalogue
from service.events.event import EFFECTS, Event
from service.events.redis import RedisLog
from service.live.histories import LiveHistories
from service.live.live import Live
from service.live.state import LiveState
from service.registry import Loaded
from tests.service.conftest import DEADLINE, RedisServer


def happened(*what: tuple[str, str, str, float]) -> list[Event]:
    """Events of (user, item, type, time)."""
    return [Event(f"e{n}", user, item, type_, time) for n, (user, item, type_, time) in enumerate(what)]


def take(live: LiveHistories, *events: Event) -> None:
    for event in events:
        live.apply(event)


def ids(catalogue: Catalogue, items: Sequence[int]) -> list[str]:
    return [catalogue.items.id(int(item)) for item in items]


def test_a_history_is_the_models_and_what_came_after(artifact: Artifact) -> None:
    catalogue = artifact.catalogue
    index = catalogue.users.index("100")
    assert index is not None
    before = ids(catalogue, catalogue.histories[index].tolist())
    fresh = next(f"i{1000 + n}" for n in range(len(catalogue.counts)) if f"i{1000 + n}" not in before)
    live = LiveHistories(catalogue, EFFECTS, catalogue.items.index)
    assert live.of("100") is None
    take(
        live, *happened(("100", fresh, "view", 5.0), ("100", before[0], "like", 6.0), ("100", before[1], "remove", 7.0))
    )
    found = live.of("100")
    assert found is not None
    assert ids(catalogue, found.items.tolist()) == [*before[2:], fresh, before[0]]
    assert len(found.disliked) == 0
    assert live.of("101") is None
    take(live, *happened(("100", fresh, "dislike", 8.0), ("100", before[2], "dislike", 1.0)))
    found = live.of("100")
    assert found is not None
    assert ids(catalogue, found.items.tolist()) == [*before[3:], before[0]]
    assert sorted(ids(catalogue, found.disliked.tolist())) == sorted((fresh, before[2]))


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(sorted(EFFECTS)), st.integers(0, 5)), max_size=30))
def test_the_newest_items_are_the_end_of_the_history(artifact: Artifact, what: list[tuple[int, str, int]]) -> None:
    live = LiveHistories(artifact.catalogue, EFFECTS, artifact.catalogue.items.index)
    before = ids(artifact.catalogue, artifact.catalogue.histories[0].tolist())
    seen = [*before[:5], "i1003", "i1004", "i1005", "i1006"]
    assert len(live.newest("100", 3)) == 3
    for n, (item, type_, time) in enumerate(what):
        live.apply(Event(str(n), "100", seen[item], type_, float(time)))
        whole = live.of("100")
        assert whole is not None
        assert len(set(whole.items.tolist())) == len(whole.items)
        for most in (1, 4, 1000):
            np.testing.assert_array_equal(live.newest("100", most), whole.items[-most:])


def test_what_the_model_does_not_know_changes_nothing(artifact: Artifact) -> None:
    live = LiveHistories(artifact.catalogue, EFFECTS, artifact.catalogue.items.index)
    take(live, *happened(("100", "no such item", "view", 1.0), ("100", "i1003", "no such type", 1.0)))
    assert live.of("100") is None


@given(st.permutations(range(6)), st.data())
def test_the_order_of_arrival_matters_only_at_the_same_time(
    artifact: Artifact, order: list[int], data: st.DataObject
) -> None:
    types = data.draw(st.lists(st.sampled_from(sorted(EFFECTS)), min_size=6, max_size=6))
    items = data.draw(st.lists(st.sampled_from(["i1003", "i1004", "i1005"]), min_size=6, max_size=6))
    what = happened(*(("new", items[n], types[n], float(n)) for n in range(6)))
    catalogue = artifact.catalogue
    in_order, shuffled = (LiveHistories(catalogue, EFFECTS, catalogue.items.index) for _ in range(2))
    take(in_order, *what)
    for place in order:
        take(shuffled, what[place])
        shuffled.of("new")
    one, other = in_order.of("new"), shuffled.of("new")
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one.items, other.items)
    np.testing.assert_array_equal(one.disliked, other.disliked)
    assert not set(one.items.tolist()) & set(one.disliked.tolist())


def test_a_log_that_cannot_be_read_is_tried_again_beside_the_requests(
    artifact: Artifact, durable_redis: RedisServer
) -> None:
    async def run() -> None:
        log = RedisLog(durable_redis.url, write_seconds=10, read_seconds=0.2)
        await log.append(happened(("new", "i1003", "view", 1.0)))
        durable_redis.hang()
        state = LiveState(Loaded(artifact, 3), EFFECTS)
        histories, live = state.histories, Live(log, state.apply, timeout_seconds=0.1)

        async def recovered() -> None:
            async with asyncio.timeout(DEADLINE):
                while live.degraded:
                    await asyncio.sleep(0.01)

        await live.start(wholly=False)
        assert live.degraded
        await live.catch_up()
        assert histories.of("new") is None
        durable_redis.wake()
        await recovered()
        found = histories.of("new")
        assert found is not None
        assert len(found.items) == 1
        durable_redis.kill()
        await live.catch_up()
        assert live.degraded
        durable_redis.start()
        await recovered()
        await log.append(happened(("new", "i1003", "view", 1.0), ("new", "i1004", "view", 2.0)))
        await live.catch_up()
        found = histories.of("new")
        assert found is not None
        assert len(found.items) == 2
        await live.close()
        await log.close()

    asyncio.run(run())
