"""POST /v1/events: what is kept, what is refused, and what the next answer makes of it."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hdrm.happened import deleted_users
from model.artifact import Artifact
from model.errors import UnavailableError
from model.store import ModelStore
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import RedisServer, converse, publish_model, seen_by

Exchange = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def own(store: ModelStore, tmp_path: Path) -> Settings:
    """Settings of a service with a log of its own."""
    return Settings(models=store.root, events_file=tmp_path / "events.sqlite")


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A right one."""
    return {"event_id": f"e{number}", "user_id": "100", "item_id": "i1003", "type": "view"} | changes


async def items(client: httpx.AsyncClient, user: str, **options: Any) -> list[str]:
    answer = await client.post("/recommend", json={"user_id": user, "k": 100} | options)
    assert answer.status_code == 200
    return [item["item_id"] for item in answer.json()["items"]]


async def send(client: httpx.AsyncClient, body: Any) -> httpx.Response:
    return await client.post("/v1/events", json=body)


def test_the_next_answer_is_of_the_history_with_the_event(own: Settings, artifact: Artifact) -> None:
    """What a new user is answered is what a known one with the same history is."""
    seen = sorted(seen_by(artifact, "101"))
    catalogue = artifact.catalogue
    index = catalogue.users.index("101")
    assert index is not None
    history = [catalogue.items.id(int(item)) for item in catalogue.histories[index]]

    async def exchange(client: httpx.AsyncClient) -> None:
        known = (await client.post("/recommend", json={"user_id": "101", "k": 20})).json()
        for number, item in enumerate(history):
            before = (await client.post("/recommend", json={"user_id": "new", "k": 20})).json()
            assert before["user_known"] is (number > 0)
            assert before["strategy"] == ("hdrm" if number else "popular")
            assert (await send(client, event(number, user_id="new", item_id=item))).status_code == 202
            assert item not in await items(client, "new")
        new = (await client.post("/recommend", json={"user_id": "new", "k": 20})).json()
        assert new["items"] == known["items"]
        assert not set(seen) & {item["item_id"] for item in new["items"]}
        assert (new["strategy"], new["user_known"], new["degraded"]) == ("hdrm", True, [])

    converse(create_app(own), exchange)


def test_events_are_kept_over_a_restart(own: Settings) -> None:
    async def before(client: httpx.AsyncClient) -> None:
        assert (await send(client, event(user_id="new"))).status_code == 202

    async def after(client: httpx.AsyncClient) -> None:
        assert "i1003" not in await items(client, "new")
        assert (await send(client, event(user_id="new"))).json()["repeated"] == 1

    converse(create_app(own), before)
    converse(create_app(own), after)


def test_an_event_counts_once(own: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        assert (await send(client, event(item_id="i1003"))).json()["repeated"] == 0
        assert (await send(client, event(item_id="i1004"))).json() == {
            "accepted": 1,
            "repeated": 1,
            "unknown_items": 0,
            "rejected": 0,
            "errors": [],
        }
        before = await items(client, "100", exclude_seen=False)
        both = (await send(client, {"events": [event(5, item_id="i1005"), event(5, item_id="i1006")]})).json()
        assert (both["accepted"], both["repeated"]) == (2, 1)
        assert await items(client, "100", exclude_seen=False) != before

    converse(create_app(own), exchange)


def test_a_disliked_item_is_not_recommended_and_a_removed_one_is_again(own: Settings, artifact: Artifact) -> None:
    seen = min(seen_by(artifact, "100"))

    async def exchange(client: httpx.AsyncClient) -> None:
        best = (await items(client, "100"))[0]
        assert (await send(client, event(1, item_id=best, type="dislike"))).status_code == 202
        assert best not in await items(client, "100")
        assert best not in await items(client, "100", exclude_seen=False)
        assert (await send(client, event(2, item_id=best, type="view"))).status_code == 202
        assert best not in await items(client, "100")
        assert best in await items(client, "100", exclude_seen=False)
        for number, item in enumerate((best, seen)):
            assert (await send(client, event(10 + number, item_id=item, type="remove"))).status_code == 202
            assert item in await items(client, "100")

        popular = await items(client, "stranger")
        assert (await send(client, event(20, user_id="stranger", item_id=popular[0], type="dislike"))).is_success
        assert await items(client, "stranger", k=99) == popular[1:]

    converse(create_app(own), exchange)


def test_events_are_in_the_order_of_their_times(own: Settings) -> None:
    """Whatever the order they come in; one whose time lies ahead is of now."""

    async def exchange(client: httpx.AsyncClient) -> None:
        early, late = "2026-01-31T18:00:00Z", "2026-01-31T18:00:00.5+00:00"
        order = [("a", early, late), ("b", 1769882400, 1769882400.5), ("c", late, early)]
        for number, (user, first, second) in enumerate(order):
            pair = [
                event(2 * number, user_id=user, item_id="i1003", timestamp=first),
                event(2 * number + 1, user_id=user, item_id="i1004", timestamp=second),
            ]
            assert (await send(client, {"events": pair})).json()["accepted"] == 2
        a, b, c = [await items(client, user) for user in "abc"]
        assert a == b
        assert a != c
        ahead = event(8, user_id="d", item_id="i1004", timestamp="2999-01-01T00:00:00Z")
        assert (await send(client, ahead)).is_success
        assert (await send(client, event(9, user_id="d", item_id="i1003"))).is_success
        assert await items(client, "d") == c

    converse(create_app(own), exchange)


def test_of_a_batch_each_event_is_accepted_or_rejected_for_itself(own: Settings) -> None:
    batch = [
        event(1, user_id="new"),
        event(2, type="adore"),
        event(3, item_id="nothing the model knows"),
        {"event_id": 4, "user_id": "", "item_id": "i1003", "type": "view", "more": 1},
        event(5, timestamp="yesterday"),
        event(6, timestamp="2026-01-31T18:00:00"),
        event(7, weight=0),
        event(8, weight=float("inf")),
    ]

    async def exchange(client: httpx.AsyncClient) -> None:
        content = repr({"events": batch}).replace("'", '"').replace("inf", "1e999")
        response = await client.post("/v1/events", content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == 202
        answer = response.json()
        assert (answer["accepted"], answer["unknown_items"], answer["rejected"]) == (2, 1, 6)
        fields = {error["index"]: [one["field"] for one in error["errors"]] for error in answer["errors"]}
        assert fields == {
            1: ["type"],
            3: ["event_id", "user_id", "more"],
            4: ["timestamp"],
            5: ["timestamp"],
            6: ["weight"],
            7: ["weight"],
        }
        allowed = {one["field"]: one.get("allowed") for error in answer["errors"] for one in error["errors"]}
        assert allowed == {
            "type": "view, like, purchase, dislike, remove",
            "event_id": "text of 1 to 256 characters",
            "user_id": "text of 1 to 256 characters",
            "more": None,
            "timestamp": "seconds since 1970 or a time such as 2026-01-31T18:00:00Z",
            "weight": "numbers above 0, up to 1e+06",
        }
        assert "i1003" not in await items(client, "new")
        metrics = (await client.get("/metrics")).text
        for outcome, number in (("new", 2), ("repeated", 0), ("rejected", 6)):
            assert f'hdrm_events_total{{outcome="{outcome}"}} {number}.0' in metrics

    converse(create_app(own), exchange)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (event(type="adore"), {"type"}),
        (event(weight=-1), {"weight"}),
        (event(more=1), {"more"}),
        (event(event=1), {"event"}),
        ({"event_id": "e"}, {"user_id", "item_id", "type"}),
        ({"events": []}, {"events"}),
        ({"events": 1}, {"events"}),
        ({"events": [event()] * 1001}, {"events"}),
        ({"events": [event()], "more": 1}, {"more"}),
        ([event()], {"body"}),
        ("event", {"body"}),
    ],
    ids=lambda value: None if isinstance(value, set) else str(value)[:40],
)
def test_what_is_wrong_with_a_body_is_told_by_field(own: Settings, body: Any, fields: set[str]) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        response = await send(client, body)
        assert response.status_code == 422
        assert response.json()["code"] == "invalid_request"
        assert {error["field"] for error in response.json()["errors"]} == fields

    converse(create_app(own), exchange)


def test_what_is_no_object_is_rejected_for_itself(own: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        answer = (await send(client, {"events": [event(), 5, None]})).json()
        assert (answer["accepted"], answer["rejected"], [one["index"] for one in answer["errors"]]) == (1, 2, [1, 2])

    converse(create_app(own), exchange)


def test_a_log_that_is_damaged_ends_the_start(store: ModelStore, tmp_path: Path) -> None:
    """Going on without it would bring back what was deleted and hidden."""
    models = publish_model(tmp_path / "models").root
    (models / "events.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(UnavailableError, match="events cannot be kept there"):
        converse(create_app(Settings(models=models)), lambda client: client.get("/readyz"))  # type: ignore[arg-type,return-value]
    with pytest.raises(UnavailableError, match="events cannot be kept there"):
        deleted_users(models)


def test_other_types_of_events_can_be_named(store: ModelStore, tmp_path: Path) -> None:
    types = {"heard": "add", "skipped": "dislike"}
    settings = Settings(models=store.root, events_file=tmp_path / "events.sqlite", event_types=types)

    async def exchange(client: httpx.AsyncClient) -> None:
        refused = (await send(client, event(type="view"))).json()["errors"]
        assert refused == [{"field": "type", "message": "there is no such type", "allowed": "heard, skipped"}]
        best = (await items(client, "100"))[0]
        assert (await send(client, event(item_id=best, type="skipped"))).is_success
        assert best not in await items(client, "100", exclude_seen=False)

    converse(create_app(settings), exchange)


def test_without_a_place_for_them_events_are_refused_and_all_else_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = publish_model(tmp_path / "models").root
    (root / "events.sqlite").mkdir()  # where the file would be

    async def exchange(client: httpx.AsyncClient) -> None:
        response = await send(client, event())
        assert (response.status_code, response.json()["code"]) == (503, "events_unavailable")
        assert "retry-after" in response.headers
        answer = (await client.post("/recommend", json={"user_id": "100"})).json()
        assert (answer["strategy"], answer["degraded"]) == ("hdrm", [])
        assert (await client.get("/readyz")).json()["events"] == {"backend": None, "state": "ok"}

    with caplog.at_level(logging.WARNING, "hdrm.service"):
        converse(create_app(Settings(models=root)), exchange)
    assert "no events are kept" in caplog.text
    caplog.clear()
    converse(create_app(Settings(models=root, events="off")), exchange)
    assert not caplog.records
    with pytest.raises(Exception, match=r"events\.sqlite: events cannot be kept there"):
        converse(create_app(Settings(models=root, events="sqlite")), exchange)


def test_a_redis_that_may_lose_events_gets_none(
    store: ModelStore, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        async def refused(setting: str) -> None:
            caplog.clear()
            response = await send(client, event())
            assert (response.status_code, response.json()["code"]) == (503, "unavailable")
            assert setting in caplog.text
            assert redis.command(b"EXISTS", b"hdrm:{events}:log") == b":0\r\n"

        await refused("appendonly yes")
        redis.command(b"CONFIG", b"SET", b"appendonly", b"yes")
        redis.command(b"CONFIG", b"SET", b"appendfsync", b"everysec")
        await refused("appendfsync always")
        redis.command(b"CONFIG", b"SET", b"appendfsync", b"always")
        redis.command(b"CONFIG", b"SET", b"maxmemory", b"100mb")
        redis.command(b"CONFIG", b"SET", b"maxmemory-policy", b"allkeys-lru")
        await refused("maxmemory-policy volatile-lru")
        redis.command(b"CONFIG", b"SET", b"maxmemory-policy", b"volatile-lru")
        assert (await send(client, event(user_id="new"))).status_code == 202
        assert "i1003" not in await items(client, "new")

    converse(create_app(Settings(models=store.root, redis_url=redis.url, redis_timeout_seconds=1.0)), exchange)
    redis.kill()  # it would first end what it writes
