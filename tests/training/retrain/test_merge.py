from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import DataError
from service.events.event import Effect, Event
from service.events.record import deletion_of
from service.live.histories import LiveHistories
from tests.conftest import deletions, planted
from tests.training.retrain.conftest import catalogue_of
from training.config import SplitConfig
from training.data.catalogue import complete_items
from training.data.datasets import Dataset, Order, make_dataset
from training.data.schema import ITEM_TYPES, TIMESTAMP
from training.retrain.merge import EFFECTS, EVENT_TYPES, Happened, merged
from training.splits import Split, make_split

LOGGED: dict[str, Effect] = {"add": "add", "dislike": "dislike", "remove": "remove"}
NO_ITEMS = pl.DataFrame(schema=ITEM_TYPES)
USERS, ANCHOR = ("u0", "u1", "u2", "u3"), "anchor"
ITEMS = tuple(f"i{n}" for n in range(6))

What = tuple[str, str, str, float]  # user, item, effect, time


def of_events(*events: What, deleted: dict[str, float] | None = None, items: pl.DataFrame = NO_ITEMS) -> Happened:
    frame = pl.DataFrame(
        [(user, item, effect, round(1e6 * time)) for user, item, effect, time in events],
        schema={**EVENT_TYPES, "timestamp": pl.Int64()},
        orient="row",
    ).with_columns(pl.col("timestamp").cast(TIMESTAMP))
    return Happened(frame, items, deletions(deleted or {}))


def base_of(rows: Sequence[tuple[str, str, float]], order: Order = "timestamp", *, rated: bool = False) -> Dataset:
    frame = pl.DataFrame(
        [(user, item, round(1e6 * time) if order == "timestamp" else None) for user, item, time in rows],
        schema={"user_id": pl.String(), "item_id": pl.String(), "timestamp": pl.Int64()},
        orient="row",
    ).with_columns(pl.col("timestamp").cast(TIMESTAMP))
    if rated:
        frame = frame.with_columns(rating=pl.lit(3.0, pl.Float32()))
    return make_dataset(frame, complete_items(None, frame), name="base", source="a file", terms="free", order=order)


def rows_of(dataset: Dataset) -> list[tuple[str, str, float | None]]:
    times = dataset.interactions["timestamp"].dt.epoch("us").to_list()
    pairs = dataset.interactions.select("user_id", "item_id").iter_rows()
    return [(user, item, None if us is None else us / 1e6) for (user, item), us in zip(pairs, times, strict=True)]


def histories_of(split: Split) -> dict[str, list[str]]:
    return {id_: [split.items.id(i) for i in split.served[u].tolist()] for u, id_ in enumerate(split.users.ids())}


def test_the_last_event_of_a_pair_decides() -> None:
    base = base_of([("a", "x", 1), ("a", "y", 2), ("a", "z", 3), ("b", "x", 4)])
    happened = of_events(
        ("a", "x", "add", 20),
        ("a", "y", "dislike", 10),
        ("b", "w", "add", 12),
        ("a", "z", "remove", 11),
        ("a", "z", "add", 11),  # of one time, the later in the log
        ("b", "w", "remove", 11),  # the later in the log, but of before
    )
    assert rows_of(merged(base, happened, name="now")) == [
        ("b", "x", 4),
        ("a", "z", 11),
        ("b", "w", 12),
        ("a", "x", 20),
    ]


def test_events_have_no_rating_and_no_time_where_the_base_has_none() -> None:
    happened = of_events(("a", "w", "add", 12), ("a", "v", "add", 11))
    timed = merged(base_of([("a", "x", 1)], rated=True), happened, name="now")
    assert timed.interactions["rating"].to_list() == [3.0, None, None]
    orders: tuple[Order, ...] = ("row", "none")
    for order in orders:
        data = merged(base_of([("a", "x", 1)], order), happened, name="now")
        assert rows_of(data) == [("a", "x", None), ("a", "v", None), ("a", "w", None)]
        assert (data.info.order, data.info.terms, data.info.name) == (order, "free", "now")


def test_events_alone_are_a_data_set() -> None:
    data = merged(None, of_events(("a", "x", "add", 2), ("b", "y", "add", 1)), name="now")
    assert rows_of(data) == [("b", "y", 1), ("a", "x", 2)]
    assert (data.info.order, data.info.source) == ("timestamp", "events")


def test_items_have_the_facts_of_now() -> None:
    items = pl.DataFrame([("i1", "New title", 2001, ["d"]), ("n1", "Newer", None, [])], schema=ITEM_TYPES, orient="row")
    base = planted()
    data = merged(base, of_events(("u1", "n1", "add", 1e6), ("u1", "n2", "add", 1e6), items=items), name="now")
    facts = {item: tuple(rest) for item, *rest in data.items.iter_rows()}
    assert facts["i1"] == ("New title", 2001, ["d"])
    assert facts["i2"] == ("Item 2", 1992, ["c2"])
    assert facts["n1"] == ("Newer", None, [])
    assert facts["n2"] == (None, None, [])
    assert len(data.items) == len(base.items) + 2


def test_what_deleted_users_had_is_gone_and_what_came_later_stays() -> None:
    base = base_of([("a", "x", 1), ("b", "x", 2), ("b", "y", 30)])
    # the event of before is one that was read just before the deletion
    happened = of_events(("a", "w", "add", 15), ("a", "y", "add", 25), deleted={"a": 20.0, "b": 20.0})
    assert rows_of(merged(base, happened, name="now")) == [("b", "y", 30), ("a", "y", 25)]


def test_a_base_of_deleted_users_alone_gives_way_to_events() -> None:
    happened = of_events(("a", "y", "add", 25), deleted={"a": 20.0})
    assert rows_of(merged(base_of([("a", "x", 1)]), happened, name="now")) == [("a", "y", 25)]


def test_nothing_left_is_an_error() -> None:
    with pytest.raises(DataError, match="no interactions are left"):
        merged(base_of([("a", "x", 1)]), of_events(("a", "x", "remove", 5)), name="now")
    with pytest.raises(DataError, match="no interactions are left"):
        merged(base_of([("a", "x", 1)]), of_events(deleted={"a": 5.0}), name="now")
    with pytest.raises(DataError, match="no interactions are left"):
        merged(None, of_events(), name="now")


def test_a_base_with_its_own_parts_is_refused() -> None:
    with pytest.raises(DataError, match="planted brings its own split"):
        merged(planted(presplit=True), of_events(("u1", "i1", "add", 1e6)), name="now")


def test_where_nothing_happened_the_data_is_that_of_before() -> None:
    for base in (planted(), planted(ordered=False)):
        assert merged(base, of_events(), name="now").info.fingerprint == base.info.fingerprint


def test_a_log_that_breaks_its_schema_is_refused() -> None:
    with pytest.raises(ValueError, match=r"events\.effect: got {'like'}"):
        of_events(("a", "x", "like", 1.0))
    with pytest.raises(ValueError, match="events: got"):
        Happened(of_events().events.drop("effect"), NO_ITEMS, {})
    with pytest.raises(ValueError, match="items: got"):
        Happened(of_events().events, NO_ITEMS.drop("year"), {})
    timeless = of_events(("a", "x", "add", 1.0)).events.with_columns(timestamp=pl.lit(None, TIMESTAMP))
    with pytest.raises(ValueError, match=r"events\.timestamp"):
        Happened(timeless, NO_ITEMS, {})


before = st.lists(st.tuples(st.sampled_from(USERS[:3]), st.sampled_from(ITEMS), st.integers(0, 3)), max_size=20)
events = st.tuples(
    st.sampled_from(USERS), st.sampled_from([*ITEMS, "n0", "n1"]), st.sampled_from(EFFECTS), st.integers(10, 15)
)
deletes = st.tuples(st.sampled_from(USERS), st.integers(10, 15))
orders = st.sampled_from(("timestamp", "row", "none"))


@given(before, st.lists(events | deletes, max_size=25), orders)
def test_histories_are_those_that_the_service_makes_of_the_same_events(
    rows: list[tuple[str, str, float]], log: list[What | tuple[str, float]], order: Order
) -> None:
    anchor = [(ANCHOR, f"a{n}", float(n)) for n in range(9)]  # so that every part of the split has something
    base = base_of([*rows, *anchor], order)
    split = make_split(base, SplitConfig(), seed=0)
    items, others = split.items, sorted({*ITEMS, "n0", "n1"} - {*split.items.ids()})

    def index(item: str) -> int | None:
        own = items.index(item)
        return len(items) + others.index(item) if own is None else own

    live = LiveHistories(catalogue_of(split), LOGGED, index)
    kept, deleted = list[What](), dict[str, float]()
    for n, one in enumerate(log):
        if len(one) == 2:
            user, time = one
            deleted[user] = max(deleted.get(user, 0.0), time)
            live.delete(deletion_of(user, timestamp=deleted[user]))
            kept = [event for event in kept if event[0] != user]
        elif one[3] > deleted.get(one[0], 0.0):  # the service refuses others
            live.apply(Event(str(n), *one))
            kept.append(one)

    now = make_split(merged(base, of_events(*kept, deleted=deleted), name="now"), SplitConfig(), seed=0)
    found, were = histories_of(now), histories_of(split)
    for user in (*USERS, ANCHOR):
        since = live.of(user)
        known = were.get(user, []) if since is None else [items.id(i) for i in since.items.tolist()]
        new = [] if since is None else [others[i - len(items)] for i in since.new.tolist()]
        history = found.get(user, [])
        assert [item for item in history if items.index(item) is not None] == known
        assert [item for item in history if items.index(item) is None] == new


def test_the_result_depends_on_the_inputs_alone() -> None:
    generator = np.random.default_rng(0)
    what = [
        (f"u{u}", f"i{i}", EFFECTS[e], float(t))
        for u, i, e, t in generator.integers(0, (120, 70, 3, 50), (5000, 4)) + np.array([0, 0, 0, 10_000])
    ]
    found = {merged(planted(), of_events(*what), name="now").info.fingerprint for _ in range(5)}
    assert len(found) == 1
