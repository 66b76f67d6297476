"""The model is changed while requests are answered: by publication, activation, rollback, as a canary."""

import asyncio
import gc
import json
import shutil
import weakref
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.store import ModelStore
from service.app import create_app
from service.cache import create_cache
from service.events.log import NoLog
from service.registry import Loaded
from service.requests import RecommendRequest
from service.roster import TOGETHER
from service.serving import Serving
from service.settings import Settings
from service.starter import Starter
from service.watcher import Watcher
from service.worker import Worker
from tests.service.conftest import DEADLINE, RedisServer, ServeProcess, converse, eventually, publish_model


@pytest.fixture
def models(tmp_path: Path) -> ModelStore:
    """A store of two models; the second is current."""
    root = tmp_path / "models"
    publish_model(root, seed=0)
    return publish_model(root, seed=1)


def first_of(store: ModelStore) -> str:
    [first] = store.previous()
    return first


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await condition():
            await asyncio.sleep(0.02)


async def served(client: httpx.AsyncClient, user: str = "100") -> dict[str, Any]:
    response = await client.post("/v1/recommend", json={"user_id": user, "k": 5})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def becomes(client: httpx.AsyncClient, version: str) -> Callable[[], Awaitable[bool]]:
    async def is_it() -> bool:
        return bool((await client.get("/readyz")).json()["model_version"] == version)

    return is_it


def test_what_becomes_current_is_served_without_a_restart(models: ModelStore) -> None:
    first, second = first_of(models), models.current()
    assert second is not None

    async def exchange(client: httpx.AsyncClient) -> None:
        new = await served(client)
        assert new["model_version"] == second
        models.rollback()
        await until(becomes(client, first))
        old = await served(client)
        assert old["model_version"] == first
        assert old["items"] != new["items"]
        models.activate(second)
        await until(becomes(client, second))
        again = await served(client)
        assert again["cached"]  # what was made by this model is still its answer
        assert again["items"] == new["items"]
        text = (await client.get("/metrics")).text
        assert 'hdrm_model_swaps_total{outcome="swapped"} 2.0' in text
        assert f'hdrm_model_info{{version="{second}"}} 1.0' in text
        assert f'hdrm_model_info{{version="{first}"}} 0.0' in text

    converse(create_app(Settings(models=models.root)), exchange)


def test_a_version_that_is_given_is_kept_to(models: ModelStore) -> None:
    first = first_of(models)

    async def exchange(client: httpx.AsyncClient) -> None:
        models.activate(first)
        await asyncio.sleep(1.5)
        assert (await served(client))["model_version"] != first

    converse(create_app(Settings(models=models.root, model_version=models.current())), exchange)


def test_what_happened_is_known_to_the_next_model_as_well(models: ModelStore) -> None:
    first = first_of(models)

    async def exchange(client: httpx.AsyncClient) -> None:
        best = (await served(client, "somebody new"))["items"][0]["item_id"]
        event = {"event_id": "1", "user_id": "somebody new", "item_id": best, "type": "view"}
        assert (await client.post("/v1/events", json=event)).status_code == 202
        assert (await client.patch("/v1/items/i1007", json={"hidden": True})).status_code == 200
        models.activate(first)
        await until(becomes(client, first))
        answer = await served(client, "somebody new")
        assert answer["strategy"] == "hdrm"
        assert {best, "i1007"}.isdisjoint(item["item_id"] for item in answer["items"])
        more = event | {"event_id": "2", "item_id": answer["items"][0]["item_id"]}
        assert (await client.post("/v1/events", json=more)).status_code == 202
        after = await served(client, "somebody new")
        assert more["item_id"] not in {item["item_id"] for item in after["items"]}

    converse(create_app(Settings(models=models.root)), exchange)


@pytest.mark.parametrize("damage", ["file", "manifest", "missing", "pointer"])
def test_a_model_that_cannot_be_served_is_refused_and_the_old_one_serves_on(
    models: ModelStore, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    second, first = models.current(), first_of(models)
    assert second is not None
    path = models.root / first
    match damage:
        case "file":
            (path / "probe.json").write_bytes((path / "probe.json").read_bytes().replace(b"1", b"2", 1))
        case "manifest":
            (path / "manifest.json").write_bytes(b"{}")
        case "missing":
            (path / "vectors.npy").unlink()
        case "pointer":
            first = "no-such-model"

    async def exchange(client: httpx.AsyncClient) -> None:
        (models.root / "current").write_text(first)

        async def is_refused() -> bool:
            return "hdrm_model_refused 1.0" in (await client.get("/metrics")).text

        await until(is_refused)
        answer = await served(client)
        assert answer["model_version"] == second
        assert (await client.get("/readyz")).status_code == 200
        assert 'hdrm_model_swaps_total{outcome="refused"} 1.0' in (await client.get("/metrics")).text
        [said] = [record.getMessage() for record in caplog.records if "REFUSED" in record.getMessage()]
        assert first in said
        assert second in said
        models.activate(second)

        async def is_well() -> bool:
            return "hdrm_model_refused 0.0" in (await client.get("/metrics")).text

        await until(is_well)

    converse(create_app(Settings(models=models.root)), exchange)


def test_a_service_starts_with_the_last_good_model(models: ModelStore) -> None:
    second, first = models.current(), first_of(models)
    assert second is not None
    kept = (models.root / second / "probe.json").read_bytes()
    (models.root / second / "probe.json").write_bytes(b"{}")
    server = ServeProcess(models.root)
    try:
        assert server.version == first
        assert "hdrm_model_refused 1.0" in httpx.get(f"{server.url}/metrics").text
        (models.root / second / "probe.json").write_bytes(kept)
        models.activate(first)
        eventually(lambda: "hdrm_model_refused 0.0" in httpx.get(f"{server.url}/metrics").text)
    finally:
        assert server.end() == 0
    assert "REFUSED" in server.log


def test_every_worker_follows_and_a_replaced_one_too(models: ModelStore) -> None:
    first = first_of(models)
    server = ServeProcess(models.root, "--workers", "2")
    try:
        models.activate(first)

        def all_follow() -> bool:
            return {httpx.get(f"{server.url}/readyz").json()["model_version"] for _ in range(20)} == {first}

        eventually(all_follow)
    finally:
        assert server.end() == 0


def test_a_request_is_answered_by_the_model_that_it_began_with(models: ModelStore) -> None:
    """While a request waits for its turn, the model changes; the next request is answered by the new one."""
    first, second = first_of(models), models.current()
    app = create_app(Settings(models=models.root, max_batch=1))

    async def exchange(client: httpx.AsyncClient) -> None:
        roster = app.framework.state.roster
        serving = roster.current
        wanted = {"user_id": "101", "k": 5, "novelty": 0.5}
        with serving.used():  # as a request that is under way
            models.activate(first)
            await until(becomes(client, first))
            assert roster.current is not serving
            await asyncio.sleep(0.2)  # in which what nobody needs is closed
            old = await serving.answers.recommend(RecommendRequest.model_validate(wanted), "1")
        assert json.loads(old.body)["model_version"] == second
        assert (await client.post("/recommend", json=wanted)).json()["model_version"] == first

    converse(app, exchange)


def test_a_replaced_model_leaves_the_memory(models: ModelStore) -> None:
    """Nothing but its own requests keeps it, not even until the next collection or a request's deadline."""
    first = first_of(models)
    app = create_app(Settings(models=models.root, deadline_seconds=600))

    async def exchange(client: httpx.AsyncClient) -> None:
        await served(client)
        for wish in ({}, {"novelty": 0.5}):  # those with a wish wait for each other
            requests = [{"user_id": str(user), **wish} for user in range(100, 140)]
            assert (await client.post("/v1/recommend/batch", json={"requests": requests})).status_code == 200
        await client.get("/v1/items/i1003/similar")
        gone = weakref.ref(app.framework.state.roster.current.answers.engine.loaded.artifact.recommender)
        gc.disable()
        try:
            models.activate(first)
            await until(becomes(client, first))

            async def is_gone() -> bool:
                return gone() is None

            await until(is_gone)
        finally:
            gc.enable()

    converse(app, exchange)


def test_a_canary_answers_the_same_share_of_users_and_can_be_promoted(models: ModelStore) -> None:
    first, second = first_of(models), models.current()
    users = [str(user) for user in range(100, 160)]

    async def exchange(client: httpx.AsyncClient) -> None:
        async def by_user() -> dict[str, str]:
            return {user: (await served(client, user))["model_version"] for user in users}

        put = await client.put("/v1/models/canary", json={"version": first, "share": 0.3})
        assert put.status_code == 200
        assert put.json()["canary"] == {"version": first, "share": 0.3}

        async def tried() -> bool:
            return bool((await client.get("/readyz")).json()["canary"] == {"version": first, "share": 0.3})

        await until(tried)
        versions = await by_user()
        assert await by_user() == versions
        chosen = {user for user, version in versions.items() if version == first}
        assert 6 <= len(chosen) <= 32  # 18 expected
        batch = await client.post("/v1/recommend/batch", json={"requests": [{"user_id": user} for user in users]})
        found = [entry["answer"]["model_version"] for entry in batch.json()["results"]]
        assert dict(zip(users, found, strict=True)) == versions
        text = (await client.get("/metrics")).text
        assert f'hdrm_model_answer_seconds_count{{outcome="ok",version="{first}"}} {3.0 * len(chosen)}' in text
        models.set_canary(first, 0.6)

        async def more() -> bool:
            canary = (await client.get("/readyz")).json()["canary"]
            return canary is not None and bool(canary["share"] == 0.6)

        await until(more)
        assert chosen < {user for user, version in (await by_user()).items() if version == first}
        models.activate(first)
        await until(becomes(client, first))
        assert (await client.get("/readyz")).json()["canary"] is None
        assert set((await by_user()).values()) == {first}
        models.activate(second or "")
        await until(becomes(client, second or ""))
        assert (await client.get("/readyz")).json()["canary"] is None
        models.set_canary(first, 0.6)
        await until(more)
        assert (await client.delete("/v1/models/canary")).json()["canary"] is None

        async def dropped() -> bool:
            return (await client.get("/readyz")).json()["canary"] is None

        await until(dropped)
        assert set((await by_user()).values()) == {second}

    converse(create_app(Settings(models=models.root)), exchange)


def test_operators_list_activate_and_roll_back_over_http(models: ModelStore) -> None:
    first, second = first_of(models), models.current()

    async def exchange(client: httpx.AsyncClient) -> None:
        listed = (await client.get("/v1/models")).json()
        assert (listed["current"], listed["serving"], listed["previous"]) == (second, second, [first])
        assert {model["version"] for model in listed["models"]} == {first, second}
        activated = await client.post(f"/v1/models/{first}/activate")
        assert activated.json()["current"] == first
        await until(becomes(client, first))
        assert (await client.post("/v1/models/rollback")).json()["current"] == second
        assert (await client.post("/v1/models/rollback")).json()["current"] == first
        none = await client.post("/v1/models/rollback")
        assert (none.status_code, none.json()["code"]) == (409, "no_previous_model")
        unknown = await client.post("/v1/models/nope/activate")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "model_unknown")
        current = await client.put("/v1/models/canary", json={"version": first, "share": 0.5})
        assert (current.status_code, current.json()["code"]) == (409, "model_current")
        wrong = await client.put("/v1/models/canary", json={"version": first, "share": 1.0})
        assert wrong.status_code == 422
        assert wrong.json()["errors"][0]["allowed"] == "numbers between 0 and 1"
        (models.root / str(second) / "probe.json").write_bytes(b"{}")
        damaged = await client.post(f"/v1/models/{second}/activate")
        assert (damaged.status_code, damaged.json()["code"]) == (409, "model_damaged")
        assert models.current() == first
        shutil.rmtree(models.root / str(second))
        assert [model["version"] for model in (await client.get("/v1/models")).json()["models"]] == [first]

    converse(create_app(Settings(models=models.root)), exchange)


def test_with_redis_the_answers_of_models_are_kept_apart(models: ModelStore, durable_redis: RedisServer) -> None:
    first, second = first_of(models), models.current()

    async def exchange(client: httpx.AsyncClient) -> None:
        for version in (first, second, first):
            models.activate(str(version))
            await until(becomes(client, str(version)))
            for user in range(100, 120):
                assert (await served(client, str(user)))["model_version"] == version

    converse(create_app(Settings(models=models.root, redis_url=durable_redis.url, redis_timeout_seconds=1.0)), exchange)


def test_without_the_log_no_model_takes_the_place_of_one_that_knows_it(
    models: ModelStore, durable_redis: RedisServer
) -> None:
    """A new model that knew nothing of it would bring deleted users back."""
    first, second = first_of(models), models.current()
    settings = Settings(models=models.root, redis_url=durable_redis.url, redis_timeout_seconds=1.0)

    async def exchange(client: httpx.AsyncClient) -> None:
        assert (await client.delete("/v1/users/100")).status_code == 200
        durable_redis.kill()
        models.activate(first)

        async def is_refused() -> bool:
            return "hdrm_model_refused 1.0" in (await client.get("/metrics")).text

        await until(is_refused)
        answer = await served(client)
        assert (answer["model_version"], answer["strategy"]) == (second, "popular")
        durable_redis.start()
        await until(becomes(client, first))
        answer = await served(client)
        assert (answer["model_version"], answer["strategy"]) == (first, "popular")

    converse(create_app(settings), exchange)


def test_all_answers_of_a_batch_are_of_one_model(models: ModelStore) -> None:
    first, second = first_of(models), models.current()
    batch = {"requests": [{"user_id": str(100 + n % 60), "k": 1 + n % 400} for n in range(1000)]}

    async def exchange(client: httpx.AsyncClient) -> None:
        seen = set[str]()
        for version in (first, second, first):
            models.activate(str(version))
            while True:
                results = (await client.post("/v1/recommend/batch", json=batch, timeout=DEADLINE)).json()["results"]
                [found] = {entry["answer"]["model_version"] for entry in results}
                seen.add(found)
                if found == version:
                    break
        assert seen == {first, second}

    converse(create_app(Settings(models=models.root, cache_max_bytes=0)), exchange)


def test_a_canary_that_cannot_be_read_keeps_nobody_from_going_back(models: ModelStore) -> None:
    first = first_of(models)

    async def exchange(client: httpx.AsyncClient) -> None:
        (models.root / "canary.json").write_text("{")
        assert (await client.get("/v1/models")).json()["canary"] is None
        assert (await client.post("/v1/models/rollback")).json()["current"] == first
        await until(becomes(client, first))

    converse(create_app(Settings(models=models.root)), exchange)


def test_pages_of_other_origins_change_nothing(models: ModelStore) -> None:
    second = models.current()

    async def exchange(client: httpx.AsyncClient) -> None:
        for path in ("/v1/models/rollback", f"/v1/models/{first_of(models)}/activate"):
            response = await client.post(path, headers={"Origin": "https://elsewhere.example"})
            assert (response.status_code, response.json()["code"]) == (403, "cross_site")
        assert models.current() == second
        own = await client.post("/v1/models/rollback", headers={"Origin": "http://t"})
        assert own.status_code == 200

    converse(create_app(Settings(models=models.root)), exchange)


def test_what_is_no_longer_wanted_when_it_is_loaded_is_not_served(models: ModelStore) -> None:
    first, second = first_of(models), str(models.current())
    settings = Settings(models=models.root, model_version=second)
    app = create_app(settings)

    class Slow(Starter):
        """While it loads, somebody goes back to what was there."""

        async def start(self, loaded: Loaded, *, replaces: bool) -> Serving:
            serving = await super().start(loaded, replaces=replaces)
            models.activate(second)
            models.drop_canary()
            return serving

    async def exchange(client: httpx.AsyncClient) -> None:
        roster, telemetry = app.framework.state.roster, app.framework.state.telemetry
        cache, worker = create_cache(settings, telemetry.count_lookup), Worker(threads=1)
        slow = Slow(settings, NoLog(), cache, worker, telemetry)
        watcher = Watcher(models, roster, slow, settings, telemetry)
        models.activate(first)
        await watcher.look()
        assert roster.current.version == second
        models.set_canary(first, 0.5)
        await watcher.look()
        assert roster.canary is None
        models.activate(first)
        await Watcher(models, roster, Starter(settings, NoLog(), cache, worker, telemetry), settings, telemetry).look()
        assert roster.current.version == first
        worker.close()
        await cache.close()

    converse(app, exchange)


def test_a_batch_is_made_as_it_is_taken(models: ModelStore) -> None:
    """A client that takes nothing does not have it all made, and held, for it."""
    app = create_app(Settings(models=models.root))

    async def exchange(client: httpx.AsyncClient) -> None:
        roster = app.framework.state.roster
        serving, wanted = roster.current, [{"user_id": str(100 + n % 40), "k": 5} for n in range(100)]
        parts = roster.batch(wanted, "1")
        first = await anext(parts)
        assert first.count(b'"status":200') == TOGETHER
        models.rollback()
        await until(becomes(client, first_version))
        rest = b"".join([part async for part in parts])
        results = json.loads(first + rest)["results"]
        assert [result["answer"]["model_version"] for result in results] == [serving.version] * len(wanted)

    first_version = first_of(models)
    converse(app, exchange)
