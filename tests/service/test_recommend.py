"""POST /recommend: what is answered, and to whom."""

import asyncio
import threading
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from model.artifact import Artifact
from model.history import Histories
from service.app import create_app
from service.engine import Engine
from service.registry import Loaded
from service.requests import RecommendRequest
from service.responses import RecommendResponse
from service.settings import Settings
from tests.service.conftest import ITEMS, ask, converse, seen_by


def test_a_known_user_gets_unseen_items_with_titles(settings: Settings, artifact: Artifact) -> None:
    (response,) = ask(settings, {"user_id": "100", "k": 10})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    RecommendResponse.model_validate(answer)
    assert answer["strategy"] == "hdrm"
    assert answer["user_known"] is True
    assert answer["cached"] is False
    assert answer["degraded"] == answer["warnings"] == []
    assert answer["model_version"] == artifact.manifest.version
    assert [item["rank"] for item in answer["items"]] == list(range(1, 11))
    assert not {item["item_id"] for item in answer["items"]} & seen_by(artifact, "100")
    distances = [item["distance"] for item in answer["items"]]
    assert distances == sorted(distances)
    assert all(item["score"] == -item["distance"] for item in answer["items"])
    for item in answer["items"]:
        number = int(item["item_id"][1:]) - 1000
        assert item.get("title") == (f"Film «{number}»" if number else None)
        assert item.get("year") == (1900 + number if number else None)
        assert item.get("categories") == ((["Drama"] + ["Short"] * (number % 3 == 0)) if number else None)


def test_the_same_call_again_is_cached_and_the_same(settings: Settings) -> None:
    first, second, other, seen = (
        response.json()
        for response in ask(
            settings,
            {"user_id": "101"},
            {"user_id": "101", "k": 10},
            {"user_id": "101", "k": 11},
            {"user_id": "101", "exclude_seen": False},
        )
    )
    assert [answer["cached"] for answer in (first, second, other, seen)] == [False, True, False, False]
    assert first["items"] == second["items"]
    for name in ("request_id", "recommendation_id"):
        assert first[name] != second[name]


def test_both_paths_are_the_same_handler(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        first = await client.post("/recommend", json={"user_id": "102"})
        second = await client.post("/v1/recommend", json={"user_id": "102"})
        assert first.json()["items"] == second.json()["items"]
        assert second.json()["cached"] is True

    converse(create_app(settings), exchange)


def test_seen_items_come_back_when_they_are_not_excluded(settings: Settings, artifact: Artifact) -> None:
    seen = seen_by(artifact, "103")
    everything, unseen = ask(
        settings, {"user_id": "103", "k": 500, "exclude_seen": False}, {"user_id": "103", "k": 500}
    )
    assert {item["item_id"] for item in everything.json()["items"]} > seen
    assert len(everything.json()["items"]) == ITEMS
    assert len(unseen.json()["items"]) == ITEMS - len(seen)
    assert everything.json()["warnings"] == unseen.json()["warnings"] == ["filters_exhausted"]


@pytest.mark.parametrize(("user", "known"), [("stranger", False), ("newcomer", True)])
def test_without_a_history_the_popular_items_are_answered(
    settings: Settings, artifact: Artifact, user: str, known: bool
) -> None:
    first, again = (response.json() for response in ask(settings, *[{"user_id": user, "k": 5}] * 2))
    assert first["strategy"] == "popular"
    assert first["user_known"] is known
    assert first["cached"] is again["cached"] is False
    counts = np.sort(artifact.catalogue.counts)[::-1][:5]
    shares = (counts / artifact.catalogue.counts.sum()).tolist()
    assert [item["score"] for item in first["items"]] == pytest.approx(shares, abs=1e-8)
    assert all(item["distance"] is None for item in first["items"])
    assert first["items"] == again["items"]


def test_an_unknown_user_is_an_error_when_asked_for(settings: Settings) -> None:
    unknown, known = ask(
        settings, {"user_id": "stranger", "fallback": "error"}, {"user_id": "100", "fallback": "error"}
    )
    assert unknown.status_code == 404
    assert unknown.json()["code"] == "user_unknown"
    assert unknown.json()["errors"][0]["field"] == "user_id"
    assert known.status_code == 200


def test_zero_steps_are_named_as_degraded(settings: Settings) -> None:
    request = {"user_id": "100", "k": 20}
    (full,) = ask(settings, request)
    first, again, popular = (
        response.json()
        for response in ask(settings.model_copy(update={"steps": 0}), request, request, {"user_id": "stranger"})
    )
    assert first["strategy"] == "hdrm"
    assert first["degraded"] == again["degraded"] == ["diffusion"]
    assert again["cached"] is True
    assert popular["degraded"] == []
    assert first["items"] != full.json()["items"]


def test_answers_are_the_same_in_another_process_life(settings: Settings) -> None:
    requests = [{"user_id": str(100 + n), "k": 7} for n in range(10)]
    first, second = ([response.json()["items"] for response in ask(settings, *requests)] for _ in range(2))
    assert first == second


def test_an_answer_does_not_depend_on_its_batch(artifact: Artifact) -> None:
    engine = Engine(Loaded(artifact, 3))
    users = [str(100 + n) for n in range(20)]
    requests = [RecommendRequest(user_id=user, k=k) for user in users for k in (1, 10, 50)]

    def cores(batch: list[RecommendRequest]) -> list[bytes]:
        queries = engine.prepare(batch)
        return engine.finish(queries, engine.infer(queries))

    assert cores(requests) == [cores([request])[0] for request in requests]  # to the last digit


def test_the_key_has_everything_the_answer_depends_on(artifact: Artifact) -> None:
    def key(steps: int = 3, model: Artifact = artifact, **fields: Any) -> str | None:
        (query,) = Engine(Loaded(model, steps)).prepare([RecommendRequest(**{"user_id": "100", **fields})])
        return query.key

    manifest = artifact.manifest.model_copy(update={"version": "other-000000000000"})
    another_version = replace(artifact, manifest=manifest)
    rows = [artifact.catalogue.histories[user] for user in range(len(artifact.catalogue.users))]
    catalogue = replace(artifact.catalogue, histories=Histories.of([rows[0][::-1].copy(), *rows[1:]]))
    another_history = replace(artifact, catalogue=catalogue)
    keys = [key(), key(steps=2), key(user_id="101"), key(k=11), key(exclude_seen=False)]
    wishes: list[dict[str, Any]] = [
        {"novelty": 0.5},
        {"novelty": -0.5},
        {"diversity": 0.5},
        {"explain": True},
        {"fields": ["rank"]},
        {"filter": {"deny": ["i1001"]}},
        {"filter": {"allow": ["i1001"]}},
        {"disliked": ["i1001"]},
        {"user_ids": ["100", "101"], "user_id": None},
        {"history": ["i1001"], "user_id": None},
    ]
    keys += [key(**fields) for fields in wishes]
    keys += [key(model=another_version), key(model=another_history)]
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key() == key(fallback="error")
    assert key(user_id="stranger") is None


def test_many_requests_at_once_all_end_and_the_loop_stays_free(settings: Settings) -> None:
    """While the inference thread is held up, probes are answered and every request waits for its turn."""
    app = create_app(settings)
    held = threading.Event()

    async def exchange(client: httpx.AsyncClient) -> None:
        worker = app.framework.state.roster.current.answers.worker
        blocker = asyncio.create_task(worker.run(held.wait, 30.0))
        asked = [
            asyncio.create_task(client.post("/recommend", json={"user_id": str(100 + n % 60), "k": 1 + n}))
            for n in range(80)
        ]
        for _ in range(5):
            assert (await client.get("/livez")).status_code == 200
        assert not any(task.done() for task in asked)
        held.set()
        assert {response.status_code for response in await asyncio.gather(*asked)} == {200}
        assert await blocker

    converse(app, exchange)


def test_too_many_waiting_requests_are_refused(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_pending": 2}))
    held = threading.Event()

    async def exchange(client: httpx.AsyncClient) -> None:
        waiting = [
            asyncio.create_task(app.framework.state.roster.current.answers.worker.run(held.wait, 30.0))
            for _ in range(2)
        ]
        await asyncio.sleep(0)
        refused = await client.post("/recommend", json={"user_id": "100"})
        assert refused.status_code == 503
        assert refused.json()["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        held.set()
        await asyncio.gather(*waiting)
        assert (await client.post("/recommend", json={"user_id": "100"})).status_code == 200

    converse(app, exchange)
