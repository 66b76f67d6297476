"""What can be wished for beside a user's nearest items: groups, filters, novelty, diversity, reasons, pages."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from model.artifact import Artifact
from model.history import Histories
from model.retrieval.metric import metric
from model.steering import centroid
from service.app import create_app
from service.cursor import write_cursor
from service.responses import RecommendResponse
from service.settings import Settings
from tests.service.conftest import ITEMS, ask, converse, publish_model, seen_by

Client = httpx.AsyncClient
NEAR = metric("hyperbolic")


def history_of(artifact: Artifact, user: str) -> list[str]:
    catalogue = artifact.catalogue
    index = catalogue.users.index(user)
    assert index is not None
    return [catalogue.items.id(int(item)) for item in catalogue.histories[index]]


def answers(settings: Settings, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for response in ask(settings, *requests):
        assert response.status_code == 200, response.text
        RecommendResponse.model_validate(response.json())
        found.append(response.json())
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def number(item_id: str) -> int:
    return int(item_id[1:]) - 1000


def test_an_anonymous_history_is_answered_as_a_known_one(settings: Settings, artifact: Artifact) -> None:
    history = history_of(artifact, "100")
    known, same, doubled, some, none = answers(
        settings,
        {"user_id": "100", "k": 20},
        {"history": history, "k": 20},
        {"history": [history[-1], *history], "k": 20},
        {"history": ["no such", *history[:3]], "k": 20},
        {"history": ["no such"], "k": 5},
    )
    assert same["items"] == doubled["items"] == known["items"]
    assert (same["user_known"], same["strategy"], same["warnings"]) == (None, "hdrm", [])
    assert (some["strategy"], some["warnings"]) == ("hdrm", ["unknown_items"])
    assert not set(ids(some)) & set(history[:3])
    assert (none["strategy"], none["warnings"]) == ("popular", ["unknown_items"])
    [refused] = ask(settings, {"history": ["no such"], "fallback": "error"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (404, "history")


def test_a_group_is_answered_from_the_middle_of_its_members(settings: Settings, artifact: Artifact) -> None:
    members, catalogue = ["100", "101", "102"], artifact.catalogue
    group, alone, one, strange, nobody = answers(
        settings,
        {"user_ids": members, "k": 10},
        {"user_id": "100", "k": 10},
        {"user_ids": ["100", "100"], "k": 10},
        {"user_ids": ["stranger", *members], "k": 10},
        {"user_ids": ["stranger", "newcomer"], "k": 10},
    )
    assert one["items"] == alone["items"]
    seen = set.union(*(seen_by(artifact, member) for member in members))
    assert not set(ids(group)) & seen
    rows = [catalogue.histories[index] for member in members if (index := catalogue.users.index(member)) is not None]
    steps = artifact.manifest.model.steps
    middle = centroid(artifact.recommender.user_vectors(Histories.of(rows), steps), curved=True)
    distances = NEAR.distance(NEAR.keys(middle, artifact.model.vectors, np.arange(ITEMS)))
    allowed = [n for n in np.argsort(distances, kind="stable") if f"i{1000 + n}" not in seen][:10]
    assert ids(group) == [f"i{1000 + n}" for n in allowed]
    assert [item["distance"] for item in group["items"]] == pytest.approx(distances[allowed].tolist(), abs=1e-6)
    assert (group["user_known"], strange["user_known"]) == (True, False)
    assert (strange["items"], strange["warnings"]) == (group["items"], ["unknown_users"])
    assert (nobody["strategy"], nobody["warnings"]) == ("popular", ["unknown_users"])
    [refused] = ask(settings, {"user_ids": ["100", "stranger"], "fallback": "error"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (404, "user_ids.1")


def test_what_is_disliked_and_what_is_like_it_goes_down(settings: Settings, artifact: Artifact) -> None:
    vectors = artifact.model.vectors

    def nearness(answer: dict[str, Any], item: int) -> float:
        found = np.array([number(one) for one in ids(answer)])
        return float(NEAR.distance(NEAR.keys(vectors[item], vectors, found)).mean())

    farther = list[float]()
    for user in range(100, 120):
        [plain] = answers(settings, {"user_id": str(user)})
        best = ids(plain)[0]
        [without, pushed] = answers(
            settings,
            {"user_id": str(user), "filter": {"deny": [best]}},
            {"user_id": str(user), "disliked": [best]},
        )
        assert best not in ids(pushed)
        farther.append(nearness(pushed, number(best)) - nearness(without, number(best)))
    assert np.mean(farther) > 0.02
    assert np.mean(np.array(farther) > 0) > 0.6


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ({"allow": ["i1003", "i1010", "i1050"]}, {3, 10, 50}),
        ({"allow": ["i1003", "i1010"], "deny": ["i1010"]}, {3}),
        ({"categories_any": ["Short"]}, {n for n in range(1, ITEMS) if n % 3 == 0}),
        ({"categories_any": ["Short", "no such"]}, {n for n in range(1, ITEMS) if n % 3 == 0}),
        ({"categories_all": ["Short", "Drama"], "year": {"lte": 1909}}, {3, 6, 9}),
        ({"categories_none": ["Drama"]}, {0}),
        ({"year": {"gte": 2017}}, {117, 118, 119}),
        ({"year": {"gte": 1950, "lte": 1950}}, {50}),
        ({"categories_any": ["no such"]}, set()),
        ({"allow": ["no such"]}, set()),
        ({"allow": [], "categories_any": []}, set(range(ITEMS))),
    ],
)
@pytest.mark.parametrize("asker", [{"user_id": "100"}, {"user_id": "stranger"}, {"user_ids": ["100", "101"]}])
def test_a_filter_leaves_exactly_what_it_says(
    settings: Settings, asker: dict[str, Any], wanted: dict[str, Any], left: set[int]
) -> None:
    [answer] = answers(settings, {**asker, "k": 500, "exclude_seen": False, "filter": wanted})
    assert {number(item) for item in ids(answer)} == left
    assert len(answer["items"]) == len(left)
    assert "filters_exhausted" in answer["warnings"]
    assert ("unknown_categories" in answer["warnings"]) == ("no such" in str(wanted.get("categories_any")))


def test_three_of_three_thousand_items_are_exactly_those_three(tmp_path: Path) -> None:
    store = publish_model(tmp_path, items=3000)
    wanted = {"allow": ["i1003", "i2500", "i3777", "no such"], "categories_any": ["Drama"]}
    for asker in ({"user_id": "100"}, {"user_id": "stranger"}, {"history": ["i1009"]}):
        [answer] = answers(Settings(models=store.root), {**asker, "k": 100, "exclude_seen": False, "filter": wanted})
        assert set(ids(answer)) == {"i1003", "i2500", "i3777"}
        assert answer["warnings"] == ["unknown_items", "filters_exhausted"]


def test_interactions_can_be_filtered_by(settings: Settings, artifact: Artifact) -> None:
    counts = artifact.catalogue.counts
    [rare, common] = answers(
        settings,
        {"user_id": "100", "k": 500, "exclude_seen": False, "filter": {"interactions": {"lte": 8}}},
        {"user_id": "100", "k": 500, "exclude_seen": False, "filter": {"interactions": {"gte": 9}}},
    )
    assert {number(item) for item in ids(rare)} == set(np.flatnonzero(counts <= 8).tolist())
    assert {number(item) for item in ids(common)} == set(np.flatnonzero(counts > 8).tolist())


def test_a_filter_and_seen_items_together_never_shorten_the_answer(settings: Settings, artifact: Artifact) -> None:
    seen = seen_by(artifact, "100")
    left = sorted(f"i{1000 + n}" for n in range(1, ITEMS) if n % 3 == 0 and f"i{1000 + n}" not in seen)
    [answer] = answers(settings, {"user_id": "100", "k": len(left), "filter": {"categories_any": ["Short"]}})
    assert sorted(ids(answer)) == left
    assert answer["warnings"] == []


def test_popularity_falls_as_novelty_rises(settings: Settings, artifact: Artifact) -> None:
    counts = np.log1p(artifact.catalogue.counts)
    wishes = [-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]
    for user in range(100, 110):
        found = answers(settings, *({"user_id": str(user), "k": 10, "novelty": wish} for wish in wishes))
        means = [float(counts[[number(item) for item in ids(answer)]].mean()) for answer in found]
        assert all(later <= earlier + 1e-9 for earlier, later in pairwise(means))
        assert means[-1] < means[0]
        [plain] = answers(settings, {"user_id": str(user), "k": 10})
        assert found[2]["items"] == plain["items"]


def test_items_differ_more_with_diversity(settings: Settings, artifact: Artifact) -> None:
    vectors = artifact.model.vectors

    def spread(answer: dict[str, Any]) -> float:
        found = np.array([number(item) for item in ids(answer)])
        return float(np.mean([NEAR.distance(NEAR.keys(vectors[item], vectors, found)).sum() for item in found]))

    spreads = []
    for user in range(100, 110):
        found = answers(settings, *({"user_id": str(user), "diversity": wish} for wish in (0.0, 0.5, 1.0)))
        assert ids(found[0])[0] == ids(found[1])[0] == ids(found[2])[0]
        assert all(len(set(ids(answer))) == 10 for answer in found)
        spreads.append([spread(answer) for answer in found])
    plain, half, whole = np.mean(spreads, axis=0)
    assert plain < half < whole


def test_reasons_are_the_nearest_items_of_the_history(settings: Settings, artifact: Artifact) -> None:
    [answer] = answers(settings, {"user_id": "100", "explain": True})
    vectors, taken = artifact.model.vectors, np.array([number(item) for item in history_of(artifact, "100")])
    for item in answer["items"]:
        distances = NEAR.distance(NEAR.keys(vectors[number(item["item_id"])], vectors, taken))
        nearest = taken[np.argsort(distances, kind="stable")[:3]]
        assert [number(reason["item_id"]) for reason in item["reasons"]] == nearest.tolist()
        assert [reason["distance"] for reason in item["reasons"]] == pytest.approx(np.sort(distances)[:3], abs=1e-6)
        assert [reason.get("title") for reason in item["reasons"]] == [f"Film «{n}»" if n else None for n in nearest]
    [popular] = answers(settings, {"user_id": "stranger", "explain": True})
    assert [item["reasons"] for item in popular["items"]] == [[]] * 10


@pytest.mark.parametrize("user", ["100", "stranger"])
def test_only_the_fields_that_are_asked_for(settings: Settings, user: str) -> None:
    full, some, two = answers(
        settings,
        {"user_id": user, "k": 3},
        {"user_id": user, "k": 3, "fields": ["item_id", "title"]},
        {"user_id": user, "k": 3, "fields": ["rank", "reasons"], "explain": True},
    )
    assert [{name: item[name] for name in ("item_id", "title")} for item in full["items"]] == some["items"]
    assert [set(item) for item in two["items"]] == [{"rank", "reasons"}] * 3


@pytest.mark.parametrize("user", ["100", "stranger"])
@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"exclude_seen": False},
        {"filter": {"categories_any": ["Drama"]}},
        {"diversity": 0.5},
        {"novelty": 0.5, "fields": ["item_id", "rank"]},
    ],
)
def test_pages_make_up_the_list(settings: Settings, user: str, wishes: dict[str, Any]) -> None:
    async def exchange(client: Client) -> None:
        request = {"user_id": user, "k": 7, **wishes}
        pages, cursor = list[dict[str, Any]](), None
        while not pages or cursor is not None:
            body = request if cursor is None else request | {"cursor": cursor}
            page = (await client.post("/recommend", json=body)).json()
            pages.append(page)
            cursor = page["next_cursor"]
            assert (await client.post("/recommend", json=body)).json()["items"] == page["items"]
        found = [item for page in pages for item in page["items"]]
        assert [item["rank"] for item in found] == list(range(1, len(found) + 1))
        names = [item["item_id"] for item in found]
        assert len(set(names)) == len(names) > 21
        if "diversity" not in wishes and "novelty" not in wishes:
            whole = (await client.post("/recommend", json=request | {"k": 500})).json()
            assert [item["item_id"] for item in whole["items"]] == names

    converse(create_app(settings), exchange)


def test_a_cursor_is_of_one_model_and_of_one_wish(settings: Settings) -> None:
    async def exchange(client: Client) -> None:
        request = {"user_id": "100", "k": 5}
        cursor = (await client.post("/recommend", json=request)).json()["next_cursor"]
        for wrong in (
            request | {"k": 6},
            request | {"novelty": 0.5},
            request | {"exclude_seen": False},
        ):
            response = await client.post("/recommend", json=wrong | {"cursor": cursor})
            assert (response.status_code, response.json()["errors"][0]["field"]) == (409, "cursor")
        for nonsense in ("x", "AAAA", cursor + "AAAA", "é", cursor[:-4]):
            response = await client.post("/recommend", json=request | {"cursor": nonsense})
            assert (response.status_code, response.json()["code"]) == (409, "cursor_invalid")
        old = write_cursor("another-model", "0" * 16, 5)
        response = await client.post("/recommend", json=request | {"cursor": old})
        assert (response.status_code, response.json()["code"]) == (409, "cursor_expired")

    converse(create_app(settings), exchange)


def test_named_items_are_paged_through_to_the_last(settings: Settings, tmp_path: Path) -> None:
    own = settings.model_copy(update={"events_file": tmp_path / "events.sqlite"})

    async def exchange(client: Client) -> None:
        for name in ("a", "b"):
            await client.put(f"/v1/items/{name}", json={})
        named = [f"i{1003 + n}" for n in range(5)] + ["a", "b"]
        for user in ("100", "stranger"):
            request = {"user_id": user, "k": 3, "exclude_seen": False, "filter": {"allow": named}}
            found, cursor = list[str](), None
            for _ in range(3):
                answer = (await client.post("/recommend", json=request | ({"cursor": cursor} if cursor else {}))).json()
                RecommendResponse.model_validate(answer)
                assert [item["rank"] for item in answer["items"]] == list(range(len(found) + 1, len(found) + 4))[
                    : len(answer["items"])
                ]
                found, cursor = found + ids(answer), answer["next_cursor"]
            assert (set(found), len(found), cursor) == (set(named), len(named), None)
            assert found[-2:] == ["a", "b"]

    converse(create_app(own), exchange)


def test_a_list_goes_on_for_a_thousand_items(tmp_path: Path) -> None:
    store = publish_model(tmp_path, items=1500)

    async def exchange(client: Client) -> None:
        for user in ("100", "stranger"):
            lengths, cursor = list[int](), None
            while not lengths or cursor:
                request: dict[str, Any] = {"user_id": user, "k": 300} | ({"cursor": cursor} if cursor else {})
                answer = (await client.post("/recommend", json=request)).json()
                lengths, cursor = [*lengths, len(answer["items"])], answer["next_cursor"]
                assert answer["warnings"] == []
            assert lengths == [300, 300, 300, 100]

    converse(create_app(Settings(models=store.root)), exchange)


def test_warnings_are_those_of_the_request(settings: Settings) -> None:
    [wrong, right, wrong_again] = answers(
        settings,
        {"history": ["i1003", "no such"]},
        {"history": ["i1003"]},
        {"history": ["i1003", "no such"]},
    )
    assert [answer["warnings"] for answer in (wrong, right, wrong_again)] == [["unknown_items"], [], ["unknown_items"]]
    assert wrong_again["cached"] is True


def test_reasons_of_a_group_are_different_items(settings: Settings) -> None:
    [answer] = answers(
        settings, {"user_ids": [str(100 + n) for n in range(30)], "explain": True, "exclude_seen": False}
    )
    for item in answer["items"]:
        reasons = [reason["item_id"] for reason in item["reasons"]]
        assert len(set(reasons)) == 3
        assert item["item_id"] not in reasons


def test_a_ranking_has_all_the_items_that_it_names(settings: Settings, artifact: Artifact) -> None:
    async def exchange(client: Client) -> None:
        everything = (await client.post("/recommend", json={"user_id": "100", "k": 500, "exclude_seen": False})).json()
        order = [item["item_id"] for item in everything["items"]]
        named = ["i1007", "i1003", "i1100", "i1050", "i1003"]
        for asker in ({"user_id": "100"}, {"history": history_of(artifact, "100")}):
            ranked = (await client.post("/v1/rank", json={**asker, "item_ids": named})).json()
            RecommendResponse.model_validate(ranked)
            assert ids(ranked) == [item for item in order if item in named]
            assert (ranked["strategy"], ranked["next_cursor"]) == ("hdrm", None)
        again = (await client.post("/v1/rank", json={"user_id": "100", "item_ids": named})).json()
        assert again["cached"] is True
        popular = (await client.post("/v1/rank", json={"user_id": "stranger", "item_ids": [*named, "no such"]})).json()
        counts = [artifact.catalogue.counts[number(item)] for item in ids(popular)]
        assert (popular["strategy"], popular["warnings"]) == ("popular", ["unknown_items"])
        assert sorted(counts, reverse=True) == counts
        assert set(ids(popular)) == set(named)
        shown = (await client.post("/v1/rank", json={"user_id": "100", "item_ids": named, "explain": True})).json()
        assert all(len(item["reasons"]) == 3 for item in shown["items"])

    converse(create_app(settings), exchange)


def test_a_batch_is_answered_entry_by_entry(settings: Settings) -> None:
    async def exchange(client: Client) -> None:
        requests: list[dict[str, Any]] = [{"user_id": str(100 + n % 60), "k": 1 + n % 20} for n in range(300)]
        requests[7] = {"user_id": "100", "k": 0}
        requests[8] = {"user_id": "stranger", "fallback": "error"}
        requests[9] = {}
        response = await client.post("/v1/recommend/batch", json={"requests": requests})
        results = response.json()["results"]
        assert response.status_code == 200
        assert [result["status"] for result in results[6:11]] == [200, 422, 404, 422, 200]
        assert results[7]["problem"]["errors"][0]["field"] == "k"
        assert results[8]["problem"]["code"] == "user_unknown"
        assert results[9]["problem"]["errors"][0]["field"] == "user_id"
        for request, result in list(zip(requests, results, strict=True))[10:40]:
            alone = (await client.post("/recommend", json=request)).json()
            assert result["answer"]["items"] == alone["items"]
        mixed = (await client.post("/v1/recommend/batch", json={"requests": [{"user_id": "100"}, 7]})).json()
        assert [result["status"] for result in mixed["results"]] == [200, 422]
        bodies: list[Any] = [[], [{"user_id": "1"}] * 1001, "x"]
        for wrong in ({"requests": body} for body in bodies):
            refused = await client.post("/v1/recommend/batch", json=wrong)
            assert (refused.status_code, refused.json()["errors"][0]["field"][:8]) == (422, "requests")

    converse(create_app(settings), exchange)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": "1", "history": ["1"]}, "user_id"),
        ({"user_id": None, "history": None}, "user_id"),
        ({"history": []}, "history"),
        ({"history": [1]}, "history.0"),
        ({"user_ids": ["1"] * 101}, "user_ids"),
        ({"user_id": "1", "novelty": 1.5}, "novelty"),
        ({"user_id": "1", "diversity": -0.1}, "diversity"),
        ({"user_id": "1", "filter": {"year": {"gte": "x"}}}, "filter.year.gte"),
        ({"user_id": "1", "filter": {"genre": ["x"]}}, "filter.genre"),
        ({"user_id": "1", "fields": ["names"]}, "fields.0"),
        ({"user_id": "1", "cursor": ""}, "cursor"),
        ({"user_id": "1", "disliked": [""]}, "disliked.0"),
    ],
)
def test_what_is_wrong_is_named(settings: Settings, body: dict[str, Any], field: str) -> None:
    [response] = ask(settings, body)
    assert response.status_code == 422
    [error] = response.json()["errors"]
    assert error["field"] == field
    assert error.get("allowed") or field in ("user_id", "filter.genre")


def test_wishes_are_answered_the_same_alone_and_together(settings: Settings) -> None:
    requests: list[dict[str, Any]] = [
        {"user_id": "100", "novelty": 0.3},
        {"user_id": "101"},
        {"user_ids": ["100", "103"], "diversity": 0.4},
        {"user_id": "102", "disliked": ["i1005"], "explain": True},
        {"history": ["i1005", "i1009"], "filter": {"categories_any": ["Short"]}},
    ]
    alone = [answer["items"] for answer in answers(settings, *requests)]

    async def exchange(client: Client) -> None:
        body = {"requests": requests * 3}
        together = (await client.post("/v1/recommend/batch", json=body)).json()["results"]
        assert [result["answer"]["items"] for result in together] == alone * 3

    converse(create_app(settings), exchange)


def test_similar_items_and_users_are_the_nearest(settings: Settings, artifact: Artifact) -> None:
    vectors, users = artifact.model.vectors, artifact.catalogue.user_vectors

    async def exchange(client: Client) -> None:
        found = (await client.get("/v1/items/i1005/similar", params={"k": 7})).json()
        distances = NEAR.distance(NEAR.keys(vectors[5], vectors, np.arange(ITEMS)))
        expected = [n for n in np.argsort(distances, kind="stable") if n != 5][:7]
        assert ids(found) == [f"i{1000 + n}" for n in expected]
        short = (await client.get("/v1/items/i1005/similar", params={"k": 50, "category": "Short"})).json()
        assert {number(item) % 3 for item in ids(short)} == {0}
        assert (len(ids(short)), short["warnings"]) == (39, ["filters_exhausted"])
        assert (await client.get("/v1/items/none/similar")).json()["code"] == "item_unknown"
        like = (await client.get("/v1/users/100/similar", params={"k": 5})).json()["users"]
        far = NEAR.distance(NEAR.keys(users[0], users, np.arange(len(users) - 1)))
        nearest = [n for n in np.argsort(far, kind="stable") if n != 0][:5]
        assert [one["user_id"] for one in like] == [str(100 + n) for n in nearest]
        assert (await client.get("/v1/users/newcomer/similar")).json()["users"] == []
        assert (await client.get("/v1/users/stranger/similar")).json()["code"] == "user_unknown"
        for path in ("/v1/items/i1005/similar?k=0", "/v1/users/100/similar?k=501", "/v1/items/i1005/similar?m=1"):
            response = await client.get(path)
            assert (response.status_code, response.json()["code"]) == (422, "invalid_request")

    converse(create_app(settings), exchange)


def test_popular_items_overall_by_category_and_of_late(settings: Settings, artifact: Artifact, tmp_path: Path) -> None:
    counts = artifact.catalogue.counts

    async def exchange(client: Client) -> None:
        found = (await client.get("/v1/popular", params={"k": 5})).json()
        order = np.argsort(-counts, kind="stable")[:5]
        assert ids(found) == [f"i{1000 + n}" for n in order]
        assert [item["score"] for item in found["items"]] == pytest.approx((counts[order] / counts.sum()).tolist())
        short = (await client.get("/v1/popular", params={"k": 5, "category": "Short"})).json()
        assert {number(item) % 3 for item in ids(short)} == {0}
        wrong = (await client.get("/v1/popular", params={"category": "no such"})).json()
        assert (wrong["items"], wrong["warnings"]) == ([], ["filters_exhausted", "unknown_categories"])
        late = {"window_seconds": 3600}
        assert (await client.get("/v1/popular", params=late)).json()["items"] == []
        for event, (item, ago) in enumerate((("i1003", 0), ("i1004", 0), ("i1003", 0), ("i1005", 7200))):
            body = {"event_id": str(event), "user_id": f"u{event}", "item_id": item, "type": "view"}
            if ago:
                body["timestamp"] = "2026-01-31T18:00:00Z"
            assert (await client.post("/v1/events", json=body)).status_code == 202
        now = (await client.get("/v1/popular", params=late)).json()
        assert [(item["item_id"], item["score"]) for item in now["items"]] == [
            ("i1003", pytest.approx(2 / 3)),
            ("i1004", pytest.approx(1 / 3)),
        ]

    converse(create_app(settings.model_copy(update={"events_file": tmp_path / "events.sqlite"})), exchange)
