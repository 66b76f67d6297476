"""The short way past the framework: over a real socket, the same answers as the long way through it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from model.store import ModelStore
from service.app import create_app
from service.protocol import BoundedHttp
from service.settings import Settings
from tests.service.conftest import DEADLINE, converse, eventually
from tests.service.test_errors import INVALID

VARYING = {"request_id", "recommendation_id", "took_ms", "cached"}
VALID = ['{"user_id":"100"}', '{"user_id":"stranger","k":3}', ' {"k": 2, "user_id": "newcomer"}\n', '{"user_id":"é"}']
BODIES: list[str | bytes] = [
    *(body for body, _ in INVALID),
    *VALID,
    '{"user_id":"stranger","fallback":"error"}',
    '{"user_id":"a","k":1}x',
]


class Served:
    """The application on a real socket, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"
        config = uvicorn.Config(self.app, http=BoundedHttp, log_level="critical", lifespan="on", server_header=False)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()
        eventually(lambda: self.server.started)

    def loop(self) -> asyncio.AbstractEventLoop:
        """The service's event loop."""
        return self.server.servers[0].get_loop()

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()


@pytest.fixture(scope="module")
def served(store: ModelStore) -> Iterator[Served]:
    served = Served(Settings(models=store.root))
    yield served
    served.end()


def essence(response: httpx.Response) -> tuple[int, dict[str, str], dict[str, Any]]:
    """What does not differ from call to call."""
    headers = {
        k: v
        for k, v in response.headers.items()
        if k not in ("date", "x-request-id", "content-length", "server-timing")
    }
    document = response.json()
    assert document["request_id"] == response.headers["x-request-id"]
    return response.status_code, headers, {k: v for k, v in document.items() if k not in VARYING}


def test_both_ways_answer_the_same(served: Served) -> None:
    kind = {"Content-Type": "application/json"}

    async def exchange(client: httpx.AsyncClient) -> None:
        """A client without a server, which cannot show a body before it is read: the long way."""
        with httpx.Client(base_url=served.url) as short:
            for body in BODIES:
                for path in ("/recommend", "/v1/recommend"):
                    through = await client.post(path, content=body, headers=kind)
                    past = short.post(path, content=body, headers=kind)
                    assert essence(past) == essence(through), body

    converse(create_app(served.settings), exchange)


def test_answers_of_the_short_way_are_counted_by_route(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        client.post("/v1/recommend", json={"user_id": "104"})
        client.post("/v1/recommend", json={"user_id": "nobody", "fallback": "error"})
        text = client.get("/metrics").text
    assert 'hdrm_request_seconds_count{method="POST",route="/v1/recommend",status="200"}' in text
    assert 'hdrm_request_seconds_count{method="POST",route="/v1/recommend",status="404"}' in text


def test_a_body_in_pieces_and_pipelined_requests_are_answered(served: Served) -> None:
    body = b'{"user_id": "105", "k": 3}'
    head = b"POST /recommend HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(
        body
    )
    with socket.create_connection(served.address, timeout=DEADLINE) as connection:
        for piece in (head + b"\r\n", body[:7], body[7:]):
            connection.sendall(piece)
            time.sleep(0.05)
        connection.sendall((head + b"\r\n" + body) * 2 + head + b"connection: close\r\n\r\n" + body)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.count(b"HTTP/1.1 200 OK") == 4
    assert received.count(b'"item_id"') == 12


def test_a_client_that_hangs_up_frees_its_place(served: Served) -> None:
    """Over both ways: with its body at once, and after it."""
    body = b'{"user_id": "106"}'
    head = b"POST /recommend HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
        body
    )
    answers = served.app.framework.state.roster.current.answers
    held = threading.Event()
    blocker = asyncio.run_coroutine_threadsafe(answers.worker.run(held.wait, 30.0), served.loop())
    try:
        with (
            socket.create_connection(served.address) as at_once,
            socket.create_connection(served.address) as later,
        ):
            at_once.sendall(head + body)
            later.sendall(head)
            time.sleep(0.1)
            later.sendall(body.replace(b"6", b"7"))
            eventually(lambda: answers.batcher.waiting == 2)
        eventually(lambda: answers.batcher.waiting == 0)
    finally:
        held.set()
    assert blocker.result(DEADLINE)
    assert httpx.post(f"{served.url}/recommend", json={"user_id": "106"}).status_code == 200
    text = httpx.get(f"{served.url}/metrics").text
    assert 'hdrm_request_seconds_count{method="POST",route="/recommend",status="499"} 2.0' in text
