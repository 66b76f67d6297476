"""Events over a real socket, with several workers, and with servers that are killed."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import DEADLINE, ITEMS, RedisServer, ServeProcess, eventually

Serve = Callable[..., ServeProcess]

TIMES = 300


@pytest.fixture(params=["sqlite", "redis"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings of where events are kept."""
    if request.param == "sqlite":
        return {"HDRM_EVENTS_FILE": str(tmp_path / "events.sqlite")}
    redis: RedisServer = request.getfixturevalue("durable_redis")
    return {"HDRM_REDIS_URL": redis.url, "HDRM_REDIS_TIMEOUT_SECONDS": "5"}


def test_the_next_answer_of_any_worker_knows_of_an_event(serve: Serve, tmp_path: Path, kept: dict[str, str]) -> None:
    server = serve("--workers", "2", TMPDIR=str(tmp_path), HDRM_LOG_LEVEL="warning", **kept)
    with httpx.Client(base_url=server.url, headers={"Connection": "close"}, timeout=DEADLINE) as client:
        for number in range(TIMES):
            user, item = f"new {number % 50}", f"i{1000 + number // 50}"
            event = {"event_id": str(number), "user_id": user, "item_id": item, "type": "view"}
            assert client.post("/v1/events", json=event).status_code == 202
            answer = client.post("/recommend", json={"user_id": user, "k": ITEMS}).json()
            assert (answer["strategy"], answer["degraded"]) == ("hdrm", [])
            assert len(answer["items"]) == ITEMS - 1 - number // 50
            assert item not in {one["item_id"] for one in answer["items"]}
    assert server.end() == 0


def test_what_a_killed_server_acknowledged_is_there_afterwards(serve: Serve, kept: dict[str, str]) -> None:
    acknowledged = list[str]()
    for life in range(3):
        server = serve(HDRM_LOG_LEVEL="warning", **kept)

        def send(url: str = server.url, life: int = life) -> None:
            with httpx.Client(base_url=url, timeout=DEADLINE) as client:
                for number in range(10**6):
                    ids = [f"{life} {number} {part}" for part in range(5)]
                    events = [{"event_id": one, "user_id": one, "item_id": "i1003", "type": "view"} for one in ids]
                    try:
                        response = client.post("/v1/events", json={"events": events})
                    except httpx.TransportError:
                        return
                    assert response.status_code == 202
                    acknowledged.extend(ids)

        before, sender = len(acknowledged), threading.Thread(target=send)
        sender.start()
        eventually(lambda before=before: len(acknowledged) > before + 50)  # type: ignore[misc]
        os.kill(server.process.pid, signal.SIGKILL)
        sender.join()
        server.end()
    server = serve(HDRM_LOG_LEVEL="warning", **kept)
    with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
        for user in acknowledged:
            answer = client.post("/recommend", json={"user_id": user, "k": ITEMS}).json()
            assert len(answer["items"]) == ITEMS - 1
        events = [{"event_id": one, "user_id": one, "item_id": "i1003", "type": "view"} for one in acknowledged[-1000:]]
        assert client.post("/v1/events", json={"events": events}).json()["repeated"] == len(events)
    assert server.end() == 0
