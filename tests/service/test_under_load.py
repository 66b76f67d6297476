"""`hdrm serve` under load: Redis in all its conditions, several workers, stampedes."""

import concurrent.futures
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.service.conftest import DEADLINE, USERS, RedisServer, ServeProcess, eventually

Serve = Callable[..., ServeProcess]

QUIET = {"HDRM_LOG_LEVEL": "warning"}  # nobody reads the pipe that the log goes to

CLIENTS = 8


@contextmanager
def load(url: str) -> Iterator[list[int]]:
    """Clients that ask without pause while the body runs; the statuses of all answers so far."""
    statuses: list[int] = []
    over = threading.Event()

    def ask(number: int) -> None:
        with httpx.Client(base_url=url, timeout=DEADLINE) as client:
            while not over.is_set():
                body = {"user_id": str(100 + (number * 7 + len(statuses)) % USERS)}
                statuses.append(client.post("/recommend", json=body).status_code)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(ask, number) for number in range(CLIENTS)]
        try:
            yield statuses
        finally:
            over.set()
    for client in clients:
        client.result()


def test_whatever_happens_to_redis_no_request_fails(serve: Serve, redis: RedisServer) -> None:
    server = serve(HDRM_REDIS_URL=redis.url, HDRM_CACHE_MAX_BYTES="0", **QUIET)

    def more(statuses: list[int]) -> None:
        """Until every client has been answered a few times."""
        before = len(statuses)
        eventually(lambda: len(statuses) >= before + 5 * CLIENTS)

    with load(server.url) as statuses:
        more(statuses)
        redis.stop()
        more(statuses)
        redis.start()
        more(statuses)
        redis.hang()
        more(statuses)
        time.sleep(1.2)  # the breaker's second, so that it is tried while it hangs
        more(statuses)
        redis.wake()
        more(statuses)
        redis.command(b"FLUSHALL")
        more(statuses)
    assert set(statuses) == {200}
    with httpx.Client(base_url=server.url) as client:
        eventually(lambda: client.get("/readyz").json()["cache"]["state"] == "ok")
    assert server.end() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_answer_the_same_as_one(serve: Serve, workers: int) -> None:
    def lists(*options: str) -> dict[str, set[str]]:
        server = serve(*options, HDRM_CACHE_MAX_BYTES="0")
        found: dict[str, set[str]] = {}
        bodies = [{"user_id": str(100 + user), "k": 20} for user in range(12)]

        def ask(body: dict[str, object]) -> None:
            answer = httpx.post(f"{server.url}/recommend", json=body, timeout=DEADLINE).json()
            found.setdefault(str(body["user_id"]), set()).add(str(answer["items"]))

        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            list(pool.map(ask, bodies * 4))  # a new connection each, so from any of the workers
        assert server.end() == 0
        return found

    several = lists("--workers", str(workers))
    assert all(len(answers) == 1 for answers in several.values())
    assert several == lists()


@pytest.mark.parametrize("with_redis", [False, True])
def test_a_stampede_is_inferred_once(serve: Serve, redis: RedisServer, with_redis: bool) -> None:
    server = serve(**({"HDRM_REDIS_URL": redis.url, "HDRM_REDIS_TIMEOUT_SECONDS": "5"} if with_redis else {}))
    ready = threading.Barrier(16)

    def ask(_: int) -> str:
        with httpx.Client(base_url=server.url, timeout=DEADLINE) as client:
            client.get("/livez")
            ready.wait(DEADLINE)
            return str(client.post("/recommend", json={"user_id": "100"}).json()["items"])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(16)))) == 1
    text = httpx.get(f"{server.url}/metrics").text
    assert re.search(r"^hdrm_batch_queries_sum 1.0$", text, re.MULTILINE)
    assert server.end() == 0
