"""The client against a real server over a socket."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client import (
    CanaryWish,
    Client,
    EventRequest,
    Filter,
    ItemFields,
    NewItem,
    RankRequest,
    RecommendRequest,
    ServiceError,
)
from service.keys import KeyFile
from tests.service.conftest import DEADLINE, ServeProcess, publish_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_model(tmp_path_factory.mktemp("client") / "models").root


@pytest.fixture(scope="module")
def key(models: Path) -> str:
    return KeyFile(models / "keys.json").create("test", ("read", "write", "admin"), None)[0]


@pytest.fixture(scope="module")
def url(models: Path, key: str) -> Iterator[str]:
    server = ServeProcess(models, HDRM_LOG_LEVEL="warning")
    yield server.url
    assert server.end() == 0


@pytest.fixture
def hdrm(url: str, key: str) -> Iterator[Client]:
    with Client(url, key=key, timeout_seconds=DEADLINE) as client:
        yield client


def test_every_call_of_the_service_is_a_method(hdrm: Client, url: str) -> None:
    assert hdrm.ready().status == "ready"
    answer = hdrm.recommend(RecommendRequest(user_id="100", k=5))
    assert [item.rank for item in answer.items] == [1, 2, 3, 4, 5]
    wishes = RecommendRequest(history=["i1003"], filter=Filter(categories_any=["Short"]), explain=True)
    assert all(item.reasons for item in hdrm.recommend(wishes).items)
    good, bad = hdrm.recommend_all(
        [RecommendRequest(user_id="100", k=5), RecommendRequest(user_id="nobody", fallback="error")]
    )
    assert good.answer is not None
    assert good.answer.items == answer.items
    assert bad.problem is not None
    assert (bad.status, bad.problem.code) == (404, "user_unknown")
    assert len(hdrm.rank(RankRequest(user_id="100", item_ids=["i1003", "i1004"])).items) == 2
    assert len(hdrm.popular(3, category="Short").items) == 3
    assert len(hdrm.similar_items("i1003", 4).items) == 4
    assert len(hdrm.similar_users("100", 4).users) == 4
    put = hdrm.put_item("a/new item?", NewItem(title="New", categories=["Novel"]))
    assert (put.title, put.in_model, put.placed) == ("New", False, False)
    assert hdrm.change_item("a/new item?", ItemFields(hidden=True)).hidden is True
    assert hdrm.item("a/new item?").title == "New"
    events = [EventRequest(event_id=str(n), user_id="a/b", item_id=f"i{1003 + n}", type="view") for n in range(3)]
    assert hdrm.record(events).accepted == 3
    assert hdrm.record(events).repeated == 3
    assert hdrm.user("a/b").history == ["i1003", "i1004", "i1005"]
    assert hdrm.popular(window_seconds=600).items[0].item_id == "i1003"
    assert hdrm.delete_user("a/b").events == 3
    [model] = hdrm.models().models
    assert hdrm.activate(model.version).current == model.version
    assert hdrm.drop_canary().canary is None
    with pytest.raises(ServiceError, match="no_previous_model"):
        hdrm.roll_back()
    with pytest.raises(ServiceError, match="model_current"):
        hdrm.try_out(CanaryWish(version=model.version, share=0.5))
    paths = httpx.get(f"{url}/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/v1")} == {
        "/v1/recommend",
        "/v1/recommend/batch",
        "/v1/rank",
        "/v1/popular",
        "/v1/events",
        "/v1/models",
        "/v1/models/canary",
        "/v1/models/rollback",
        "/v1/models/{version}/activate",
        "/v1/items/{item_id}",
        "/v1/items/{item_id}/similar",
        "/v1/users/{user_id}",
        "/v1/users/{user_id}/similar",
    }


def test_a_problem_is_an_error_that_says_what_is_wrong(hdrm: Client, url: str) -> None:
    with pytest.raises(ServiceError, match="user_unknown") as caught:
        hdrm.user("nobody")
    assert caught.value.status == 404
    with pytest.raises(ServiceError, match="item_id: there is no such item"):
        hdrm.similar_items("nothing")
    with Client(url) as stranger, pytest.raises(ServiceError, match="401 unauthorized"):
        stranger.popular()


def test_a_server_that_is_away_for_a_moment_is_tried_again(models: Path, key: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = list[ServeProcess]()

    def start() -> None:
        time.sleep(1.0)
        started.append(ServeProcess(models, "--port", str(port), HDRM_LOG_LEVEL="warning"))

    with Client(f"http://127.0.0.1:{port}", key=key, attempts=1) as client, pytest.raises(httpx.ConnectError):
        client.popular()
    thread = threading.Thread(target=start)
    thread.start()
    with Client(f"http://127.0.0.1:{port}", key=key, attempts=12) as client:
        assert len(client.popular().items) == 10
    thread.join()
    assert started[0].end() == 0


def test_a_busy_server_is_tried_again_when_it_says(url: str, models: Path) -> None:
    limited = KeyFile(models / "keys.json").create("slow", ("read",), "2/second")[0]
    with Client(url, key=limited, attempts=5) as client:
        assert all(len(client.popular().items) == 10 for _ in range(5))
    with Client(url, key=limited, attempts=1) as client, pytest.raises(ServiceError, match="429 rate_limited"):
        [client.popular() for _ in range(5)]


def test_an_answer_of_something_else_is_an_error(models: Path) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(502, text="<html>bad gateway"))
    with Client(transport=transport, attempts=1) as client, pytest.raises(ServiceError, match="502 no problem"):
        client.popular()
