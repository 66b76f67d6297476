"""Items that change, are hidden, are new; users that are looked at and forgotten."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from model.artifact import Artifact
from model.history import Histories
from service.app import Service, create_app
from service.events.event import EFFECTS, Event
from service.events.record import Deletion, Record, deletion_of, item_change
from service.filters import allowed_items
from service.live.items import LiveItems
from service.live.placement import PLACED_BY
from service.live.state import LiveState
from service.registry import Loaded
from service.requests import Filter, Range
from service.settings import Settings
from tests.service.conftest import ITEMS, RedisServer, converse, seen_by

Client = httpx.AsyncClient


@pytest.fixture(params=["sqlite", "redis"])
def own(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a service with a log of its own."""
    if request.param == "sqlite":
        return settings.model_copy(update={"events_file": tmp_path / "events.sqlite"})
    redis: RedisServer = request.getfixturevalue("durable_redis")
    return settings.model_copy(update={"redis_url": SecretStr(redis.url)})


async def names(client: Client, **wishes: Any) -> list[str]:
    response = await client.post("/recommend", json={"k": 500, **wishes})
    assert response.status_code == 200, response.text
    return [item["item_id"] for item in response.json()["items"]]


def event(number: int, user: str, item: str, type_: str = "view") -> dict[str, Any]:
    return {"event_id": f"e{number}", "user_id": user, "item_id": item, "type": type_}


async def took(client: Client, item: str, *users: str, type_: str = "view") -> None:
    events = [{**event(0, user, item, type_), "event_id": f"{type_} {item} {user}"} for user in users]
    response = await client.post("/v1/events", json={"events": events})
    assert response.json()["accepted"] == len(users)


def test_a_hidden_item_is_in_no_answer_and_comes_back(own: Settings) -> None:
    async def exchange(client: Client) -> None:
        everyone: list[dict[str, Any]] = [{"user_id": "100"}, {"user_id": "stranger"}, {"history": ["i1009"]}]
        best = (await names(client, user_id="100"))[0]
        before = [await names(client, **one) for one in everyone]
        changed = await client.patch(f"/v1/items/{best}", json={"hidden": True})
        assert (changed.status_code, changed.json()["hidden"]) == (200, True)
        for one, was in zip(everyone, before, strict=True):
            assert await names(client, **one) == [item for item in was if item != best]
            assert await names(client, **one, filter={"allow": [best]}) == []
        ranked = await client.post("/v1/rank", json={"user_id": "100", "item_ids": [best, "i1009"]})
        assert [item["item_id"] for item in ranked.json()["items"]] == ["i1009"]
        similar = (await client.get("/v1/items/i1009/similar", params={"k": 500})).json()["items"]
        popular = (await client.get("/v1/popular", params={"k": 500})).json()["items"]
        assert best not in {item["item_id"] for item in similar + popular}
        assert (await client.patch(f"/v1/items/{best}", json={"hidden": False})).status_code == 200
        assert [await names(client, **one) for one in everyone] == before

    converse(create_app(own), exchange)


def test_what_is_known_of_an_item_can_be_changed(own: Settings) -> None:
    async def first(client: Client) -> None:
        facts = {"title": "A new title", "categories": ["Musical", "Drama"]}
        changed = (await client.patch("/v1/items/i1007", json=facts)).json()
        assert changed == {
            "item_id": "i1007",
            **facts,
            "year": 1907,
            "hidden": False,
            "in_model": True,
            "placed": True,
        }
        await check(client)

    async def check(client: Client) -> None:
        found = (
            await client.post("/recommend", json={"user_id": "100", "filter": {"categories_any": ["Musical"]}})
        ).json()
        seen = await names(client, user_id="100", filter={"categories_any": ["Musical"]}, exclude_seen=False)
        assert seen == ["i1007"]
        assert [item["title"] for item in found["items"]] in ([], ["A new title"])
        assert "i1007" not in await names(client, user_id="stranger", filter={"categories_none": ["Musical"]})
        assert (await client.get("/v1/items/i1007")).json()["title"] == "A new title"
        assert (await client.get("/v1/items/i1008")).json()["title"] == "Film «8»"

    converse(create_app(own), first)
    converse(create_app(own), check)  # after a restart


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("PATCH", "/v1/items/none", {"hidden": True}, 404, "item_id"),
        ("GET", "/v1/items/none", None, 404, "item_id"),
        ("PATCH", "/v1/items/i1007", {}, 422, "body"),
        ("PATCH", "/v1/items/i1007", {"hidden": 1}, 422, "hidden"),
        ("PATCH", "/v1/items/i1007", {"genre": "x"}, 422, "genre"),
        ("PUT", "/v1/items/i1007", {"year": 10_000}, 422, "year"),
        ("PUT", "/v1/items/" + "x" * 257, {}, 422, "item_id"),
        ("GET", "/v1/users/stranger", None, 404, "user_id"),
    ],
)
def test_what_is_wrong_is_named(
    settings: Settings, tmp_path: Path, method: str, path: str, body: Any, status: int, field: str
) -> None:
    async def exchange(client: Client) -> None:
        response = await client.request(method, path, json=body)
        assert response.status_code == status, response.text
        assert [error["field"] for error in response.json()["errors"]] == [field]
        assert response.headers["content-type"] == "application/problem+json"

    converse(create_app(settings.model_copy(update={"events_file": tmp_path / "events.sqlite"})), exchange)


def test_a_new_item_is_recommended_once_enough_have_taken_it(own: Settings, artifact: Artifact) -> None:
    async def exchange(client: Client) -> None:
        described = {"title": "Brand new", "categories": ["Novel"]}
        put = await client.put("/v1/items/new%2F1", json=described)
        assert (put.status_code, put.json()["in_model"], put.json()["placed"]) == (201, False, False)
        again = await client.put("/v1/items/new%2F1", json=described)
        assert (again.status_code, again.json()) == (200, put.json())
        await took(client, "new/1", *(str(100 + n) for n in range(PLACED_BY - 1)), "stranger")
        assert "new/1" not in await names(client, user_id="120")
        assert (await client.get("/v1/items/new%2F1/similar")).json()["code"] == "item_unplaced"
        # by rule: who names it gets it, last
        assert await names(client, user_id="120", filter={"allow": ["new/1", "i1003"]}, exclude_seen=False) == [
            "i1003",
            "new/1",
        ]
        assert await names(client, user_id="another", filter={"allow": ["new/1"]}) == ["new/1"]
        await took(client, "new/1", str(100 + PLACED_BY))
        assert (await client.get("/v1/items/new%2F1")).json()["placed"] is True
        answer = (await client.post("/recommend", json={"user_id": "120", "k": 500})).json()["items"]
        [found] = [item for item in answer if item["item_id"] == "new/1"]
        assert (found["title"], found["categories"]) == ("Brand new", ["Novel"])
        assert [item["distance"] for item in answer] == sorted(item["distance"] for item in answer)
        # those who took it have seen it
        assert "new/1" not in await names(client, user_id="100")
        assert "new/1" in await names(client, user_id="100", exclude_seen=False)
        assert await names(client, user_id="120", filter={"categories_any": ["Novel"]}) == ["new/1"]
        assert await names(client, user_id="120", filter={"deny": ["new/1"], "categories_any": ["Novel"]}) == []
        reasons = await client.post("/recommend", json={"history": ["new/1", "i1003"], "explain": True})
        assert "new/1" in str(reasons.json()["items"])
        similar = (await client.get("/v1/items/new%2F1/similar", params={"k": 500})).json()["items"]
        assert len(similar) == ITEMS
        recent = (await client.get("/v1/popular", params={"window_seconds": 60})).json()["items"]
        assert recent[0]["item_id"] == "new/1"
        assert (await client.patch("/v1/items/new%2F1", json={"hidden": True})).status_code == 200
        assert "new/1" not in await names(client, user_id="120")
        await client.patch("/v1/items/new%2F1", json={"hidden": False})
        # and it has no place any more when too few have it left
        await took(client, "new/1", *(str(100 + n) for n in range(3)), type_="remove")
        assert (await client.get("/v1/items/new%2F1")).json()["placed"] is False
        assert "new/1" not in await names(client, user_id="120")

    converse(create_app(own), exchange)


def test_where_a_new_item_is_does_not_depend_on_how_the_log_was_read(artifact: Artifact) -> None:
    generator = np.random.default_rng(0)
    records: list[Record] = [item_change(f"new {n}", {"title": None}, creates=True, timestamp=0.0) for n in range(3)]
    for number in range(300):
        user, item = f"{100 + generator.integers(60)}", f"new {generator.integers(3)}"
        kind = str(generator.choice(["view", "view", "view", "remove", "dislike"]))
        records.append(Event(f"e{number}", user, item, kind, float(number)))
        if number % 17 == 0:
            records.append(deletion_of(f"{100 + generator.integers(60)}", timestamp=float(number)))

    def state(cuts: list[int]) -> LiveState:
        made = LiveState(Loaded(artifact, 3), EFFECTS)
        for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True):
            made.apply(records[start:stop])
        return made

    whole = state([])
    assert len(whole.placement.placed.items) > 0
    # a process that starts later is not told of what was deleted in the meantime
    gone = {record.user_id: n for n, record in enumerate(records) if isinstance(record, Deletion)}
    later = LiveState(Loaded(artifact, 3), EFFECTS)
    later.apply([r for n, r in enumerate(records) if not (isinstance(r, Event) and n < gone.get(r.user_id, -1))])
    assert later.revision == whole.revision
    np.testing.assert_array_equal(later.recent.counts(0, ITEMS + 3), whole.recent.counts(0, ITEMS + 3))
    for cuts in ([*range(1, len(records))], sorted(generator.choice(len(records), 9, replace=False).tolist())):
        other = state(cuts)
        assert other.revision == whole.revision
        np.testing.assert_array_equal(other.placement.placed.vectors, whole.placement.placed.vectors)


def test_a_new_item_lies_in_the_direction_of_its_users_at_the_radius_of_its_like(artifact: Artifact) -> None:
    state = LiveState(Loaded(artifact, 3), EFFECTS)
    users = [str(100 + n) for n in range(PLACED_BY)]
    state.apply([item_change("new", {}, creates=True, timestamp=0.0)])
    state.apply([Event(user, user, "new", "view", 1.0) for user in users])
    rows = [artifact.catalogue.histories[n] for n in range(PLACED_BY)]
    mean = artifact.recommender.user_vectors(Histories.of(rows), 3).mean(0)
    [vector] = state.placement.placed.vectors
    cosine = vector @ mean / np.linalg.norm(vector) / np.linalg.norm(mean)
    assert cosine == pytest.approx(1, abs=1e-5)
    radii, counts = np.linalg.norm(artifact.model.vectors, axis=1), artifact.catalogue.counts
    few = np.argsort(counts, kind="stable")[: 2 * 5]
    assert np.linalg.norm(vector) == pytest.approx(float(np.median(radii[few])), rel=0.3)


def test_all_that_is_stored_of_a_user_is_shown_and_forgotten(own: Settings, artifact: Artifact) -> None:
    seen = seen_by(artifact, "100")

    async def exchange(client: Client) -> None:
        await took(client, "i1003", "100", "new one")
        await took(client, "i1004", "100", type_="dislike")
        await took(client, "unheard of", "100", "only strange things")
        stored = (await client.get("/v1/users/100")).json()
        assert stored["in_model"] is True
        assert set(stored["history"]) == (seen | {"i1003"}) - {"i1004"}
        assert stored["disliked"] == ["i1004"]
        assert [one["item_id"] for one in stored["events"]] == ["i1003", "i1004", "unheard of"]
        strange = (await client.get("/v1/users/only strange things")).json()
        assert (strange["history"], len(strange["events"])) == ([], 1)
        similar = (await client.get("/v1/users/101/similar", params={"k": 500})).json()["users"]
        assert "100" in {one["user_id"] for one in similar}
        popular = await names(client, user_id="stranger")

        gone = await client.delete("/v1/users/100")
        assert gone.json() == {"user_id": "100", "events": 3, "in_model": True}
        await check(client)
        assert await names(client, user_id="100") == popular
        similar = (await client.get("/v1/users/101/similar", params={"k": 500})).json()["users"]
        assert "100" not in {one["user_id"] for one in similar}
        assert (await client.delete("/v1/users/100")).json() == {"user_id": "100", "events": 0, "in_model": False}
        assert (await client.delete("/v1/users/stranger")).json()["events"] == 0
        assert (await client.get("/v1/users/new one")).json()["history"] == ["i1003"]

    async def check(client: Client) -> None:
        assert (await client.get("/v1/users/100")).status_code == 404
        answer = (await client.post("/recommend", json={"user_id": "100"})).json()
        assert (answer["strategy"], answer["user_known"], answer["cached"]) == ("popular", False, False)
        refused = await client.post("/recommend", json={"user_id": "100", "fallback": "error"})
        assert refused.status_code == 404

    async def anew(client: Client) -> None:
        await check(client)
        # what is sent again is of before, and brings nothing back
        old = {**event(1, "100", "i1003"), "timestamp": "2026-01-31T18:00:00Z"}
        response = await client.post("/v1/events", json=old)
        assert (response.status_code, response.json()["code"]) == (409, "user_deleted")
        batch = (await client.post("/v1/events", json={"events": [old, {**old, "type": "no such"}]})).json()
        assert [error["code"] for error in batch["errors"]] == ["user_deleted", "invalid_request"]
        assert (await client.get("/v1/users/100")).status_code == 404
        # who comes back begins anew
        await took(client, "i1003", "100")
        stored = (await client.get("/v1/users/100")).json()
        assert (stored["in_model"], stored["history"], len(stored["events"])) == (False, ["i1003"], 1)

    converse(create_app(own), exchange)
    converse(create_app(own), anew)


def test_a_model_that_knew_of_a_deletion_may_use_what_came_later(artifact: Artifact) -> None:
    known, later = deletion_of("100", timestamp=5.0), deletion_of("100", timestamp=4.0)  # by a clock that is slow
    data = artifact.manifest.data.model_copy(update={"deletions": [known.deletion_id]})
    knowing = replace(artifact, manifest=artifact.manifest.model_copy(update={"data": data}))
    for model, kept in ((artifact, False), (knowing, True)):
        state = LiveState(Loaded(model, 3), EFFECTS)
        state.apply([known])
        assert state.histories.in_model("100") is kept
        state.apply([later])
        assert state.histories.in_model("100") is False


def test_what_was_written_is_answered_even_if_redis_is_slow(settings: Settings, durable_redis: RedisServer) -> None:
    """Slower than requests wait for it."""
    slow = settings.model_copy(update={"redis_url": SecretStr(durable_redis.url), "redis_timeout_seconds": 0.05})

    async def exchange(client: Client) -> None:
        async def paused(method: str, path: str, body: Any = None) -> httpx.Response:
            durable_redis.command(b"CLIENT", b"PAUSE", b"300", b"ALL")
            return await client.request(method, path, json=body)

        assert (await paused("PUT", "/v1/items/n", {"title": "N"})).json()["title"] == "N"
        assert (await paused("PATCH", "/v1/items/n", {"title": "M"})).json()["title"] == "M"
        assert (await paused("DELETE", "/v1/users/100")).status_code == 200
        assert (await client.post("/recommend", json={"user_id": "100"})).json()["user_known"] is False

    converse(create_app(slow), exchange)


def test_two_services_with_one_log_agree(own: Settings) -> None:
    one, other = create_app(own), create_app(own)

    async def exchange(client: Client) -> None:
        async def with_other(second: Client) -> None:
            await client.put("/v1/items/n", json={"title": "N"})
            await took(client, "n", *(str(100 + n) for n in range(20)))
            assert await names(second, user_id="130") == await names(client, user_id="130")
            assert "n" in await names(second, user_id="130")
            await second.patch("/v1/items/n", json={"hidden": True})
            assert "n" not in await names(client, user_id="130")
            await second.delete("/v1/users/130")
            assert (await client.get("/v1/users/130")).status_code == 404

        await both(other, with_other)

    converse(one, exchange)


async def both(app: Service, exchange: Any) -> None:
    transport = httpx.ASGITransport(app)
    async with (
        app.framework.router.lifespan_context(app.framework),
        httpx.AsyncClient(transport=transport, base_url="http://t") as client,
    ):
        await exchange(client)


def test_without_a_log_nothing_can_be_kept(settings: Settings) -> None:
    async def exchange(client: Client) -> None:
        for method, path, body in (
            ("PATCH", "/v1/items/i1003", {"hidden": True}),
            ("PUT", "/v1/items/n", {}),
            ("DELETE", "/v1/users/100", None),
        ):
            response = await client.request(method, path, json=body)
            assert (response.status_code, response.json()["code"]) == (503, "events_unavailable")
            assert "retry-after" in response.headers
        assert len((await client.get("/v1/users/100")).json()["history"]) > 0

    converse(create_app(settings.model_copy(update={"events": "off"})), exchange)


@given(st.data())
def test_filters_see_items_as_they_are_now(artifact: Artifact, data: st.DataObject) -> None:
    """Against the definition, item by item, after any changes."""
    items = LiveItems(artifact.catalogue)
    names = st.lists(st.sampled_from(["Drama", "Short", "Novel", "Late"]), max_size=3)
    years = st.none() | st.integers(1900, 2030)
    for n in range(data.draw(st.integers(0, 12))):
        item = data.draw(st.sampled_from(["i1003", "i1004", "i1006", "new a", "new b"]))
        facts = {"title": None, "year": data.draw(years), "categories": data.draw(names)}
        items.apply(item_change(item, facts, creates=True, timestamp=float(n)))
    bounds = st.none() | st.builds(Range, gte=years, lte=years)
    wanted = data.draw(
        st.builds(
            Filter,
            allow=st.lists(st.sampled_from(["i1003", "i1004", "i1010", "new a", "none"]), max_size=4),
            deny=st.lists(st.sampled_from(["i1003", "i1005", "new b"]), max_size=2),
            categories_any=names,
            categories_all=names,
            categories_none=names,
            year=bounds,
        )
    )

    def holds(index: int) -> bool:
        facts, own = items.facts(index), set(items.facts(index).categories)
        low, high = (None, None) if wanted.year is None else (wanted.year.gte, wanted.year.lte)
        return (
            (not wanted.allow or items.id(index) in wanted.allow)
            and items.id(index) not in wanted.deny
            and (not wanted.categories_any or bool(own & set(wanted.categories_any)))
            and set(wanted.categories_all) <= own
            and not own & set(wanted.categories_none)
            and (
                wanted.year is None
                or (
                    facts.year is not None
                    and (low is None or facts.year >= low)
                    and (high is None or facts.year <= high)
                )
            )
        )

    assert allowed_items(wanted, items).tolist() == [index for index in range(len(items)) if holds(index)]
