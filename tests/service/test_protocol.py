"""Bounds on what a client may send, over a real socket: heads, bodies, and what is no HTTP at all."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from service.errors import install_handlers
from service.middleware import BodyLimit
from service.peer import is_alone
from service.protocol import BoundedHttp
from tests.service.conftest import DEADLINE, eventually

LONG = 2000  # parts of 64 KiB: more than the buffers of both ends hold

REQUEST = b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\nhi"


class Hasty(BoundedHttp):
    max_head_bytes = 1000
    head_seconds = 0.4
    write_seconds = 0.4
    least_written = 1


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """A server that echoes bodies, impatiently."""
    app = FastAPI()

    @app.post("/echo")
    async def echo(request: Request) -> str:
        return (await request.body()).decode()

    @app.get("/long")
    async def long() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(LONG):
                yield b"x" * 2**16

        return StreamingResponse(parts())

    @app.post("/alone")
    async def alone(request: Request) -> list[bool]:
        before = is_alone(request.scope)
        await request.body()  # which may keep it waiting
        return [before, is_alone(request.scope)]

    install_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=5000, seconds=0.4)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, http=Hasty, log_level="critical", timeout_keep_alive=60))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        eventually(lambda: server.started)
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def connected(address: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=DEADLINE) as connection:
        yield connection


def answers(connection: socket.socket) -> list[tuple[int, dict[str, str], bytes]]:
    """Everything until the server closes, as (status, headers, body)."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}
        length = int(headers["content-length"])
        found.append((int(line.split()[1]), headers, received[:length]))
        received = received[length:]
    return found


def send_all(connection: socket.socket, parts: Iterable[bytes], *, pause: float = 0.0) -> None:
    for part in parts:
        connection.sendall(part)
        time.sleep(pause)


def check_problem(answer: tuple[int, dict[str, str], bytes], status: int, code: str) -> None:
    got, headers, body = answer
    document = json.loads(body)
    assert (got, document["status"], document["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert document["request_id"] or status == 408


@pytest.mark.parametrize(
    "garbage",
    [
        b"FOO / HTTP/1.1\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
def test_what_is_no_http_gets_a_problem_document(address: tuple[str, int], garbage: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(garbage)
        (answer,) = answers(connection)
    check_problem(answer, 400, "invalid_http")


@pytest.mark.parametrize("part", [b"GET /" + b"a" * 3000, b"GET / HTTP/1.1\r\nx: " + b"a" * 3000])
def test_a_head_without_end_is_refused(address: tuple[str, int], part: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(part)
        (answer,) = answers(connection)
    check_problem(answer, 431, "head_too_long")


def test_a_head_that_trickles_in_is_refused_and_silence_is_hung_up_on(address: tuple[str, int]) -> None:
    with connected(address) as slow, connected(address) as silent:
        slow.sendall(b"POST /echo HT")
        check_problem(answers(slow)[0], 408, "head_too_slow")
        assert answers(silent) == []


def test_a_body_that_trickles_in_is_refused(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(REQUEST[:-1])
        check_problem(answers(connection)[0], 408, "body_too_slow")


def test_the_bounds_are_those_of_one_request_not_of_the_connection(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        for pause in (0, 0, 0.6, 0):  # longer than a head may take: between requests nothing is awaited
            time.sleep(pause)
            connection.sendall(REQUEST)
            assert connection.recv(65536).endswith(b'"hi"')
        body = b"x" * 4000  # longer than a head may be
        connection.sendall(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        assert b"200 OK" in connection.recv(65536)
        connection.sendall(REQUEST[:20])
        check_problem(answers(connection)[-1], 408, "head_too_slow")


def test_pipelined_requests_are_all_answered(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        last = REQUEST.replace(b"host: test", b"host: test\r\nconnection: close")
        connection.sendall(REQUEST * 3 + last)
        assert [(status, body) for status, _, body in answers(connection)] == [(200, b'"hi"')] * 4


def test_what_comes_before_a_malformed_request_is_answered(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(REQUEST * 5 + b"BAD\r\n\r\n" + REQUEST)
        *found, last = answers(connection)
    assert [(status, body) for status, _, body in found] == [(200, b'"hi"')] * 5
    check_problem(last, 400, "invalid_http")


@pytest.mark.parametrize("offered", [b"h2c", b"websocket"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_another_protocol_that_is_offered_is_passed_over(address: tuple[str, int], offered: bytes, pieces: int) -> None:
    offer = (
        b"host: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + offered + b"\r\nHTTP2-Settings: AAMAAABk"
    )
    offering, size = REQUEST.replace(b"host: test", offer), len(REQUEST) // pieces
    last = REQUEST.replace(b"host: test", offer.replace(b"Upgrade, ", b"upgrade, close, "))
    sent = offering * 3 + REQUEST + last
    with connected(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        parts = [sent[start : start + size] for start in range(0, len(sent), size)] if pieces > 1 else [sent]
        send_all(connection, parts, pause=0.005)
        assert [(status, body) for status, _, body in answers(connection)] == [(200, b'"hi"')] * 5


def test_a_thousand_offers_at_once_are_passed_over(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        offering = b"GET / HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"
        connection.sendall(offering * 1000 + REQUEST.replace(b"host: test", b"host: test\r\nconnection: close"))
        assert [status for status, _, _ in answers(connection)] == [404] * 1000 + [200]


@pytest.mark.parametrize("request_", [b"CONNECT a:80 HTTP/1.1\r\n\r\n", b"GET http://a:99999999/echo HTTP/1.1\r\n\r\n"])
def test_an_address_that_is_none_gets_a_problem_document(address: tuple[str, int], request_: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(request_)
        (answer,) = answers(connection)
    check_problem(answer, 400, "invalid_http")


def test_an_answer_that_nobody_takes_is_given_up(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: test\r\n\r\n")
        time.sleep(3 * Hasty.write_seconds)
        received = 0
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(2**20):
                received += len(chunk)
    assert received < LONG * 2**16


def test_an_answer_that_is_taken_slowly_is_given_whole(address: tuple[str, int]) -> None:
    received = 0
    with connected(address) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        while chunk := connection.recv(2**23, socket.MSG_WAITALL):
            received += len(chunk)
            time.sleep(Hasty.write_seconds / 4)
    assert received > LONG * 2**16


def test_a_long_body_that_goes_on_after_its_refusal_is_no_new_request(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 90000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(9):
                connection.sendall(b"x" * 10000)
                time.sleep(0.02)
        connection.shutdown(socket.SHUT_WR)
        found = answers(connection)
    assert [status for status, _, _ in found] == [413]


def test_a_head_that_comes_at_once_has_the_same_bound(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * 3000 + b"\r\n\r\n")
        (answer,) = answers(connection)
    check_problem(answer, 431, "head_too_long")
    with connected(address) as connection:
        body = b"x" * 4000
        head = b"POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        connection.sendall(head + body)
        assert answers(connection)[0][0] == 200


@pytest.mark.parametrize("trailer", [b"x-%d: a\r\n", b"x: a%d"])
def test_trailers_without_end_end_the_connection(address: tuple[str, int], trailer: bytes) -> None:
    with connected(address) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n")
        with pytest.raises(ConnectionError):
            send_all(connection, (trailer % number for number in range(100_000)))


def test_short_trailers_are_passed_over(address: tuple[str, int]) -> None:
    head = b"POST /echo HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    with connected(address) as connection:
        connection.sendall(head + b"1\r\nh\r\n1;x=y\r\ni\r\n0\r\nx: y\r\n\r\n")
        (answer,) = answers(connection)
    assert (answer[0], answer[2]) == (200, b'"hi"')


def test_a_body_that_nobody_waits_for_does_not_keep_the_connection(address: tuple[str, int]) -> None:
    with connected(address) as connection:
        connection.sendall(b"GET /nowhere HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            send_all(connection, (b"x" for _ in range(200)), pause=0.05)


def test_a_request_knows_whether_it_is_alone(address: tuple[str, int]) -> None:
    head = b"POST /alone HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: 2\r\n\r\n"
    with connected(address) as first, connected(address) as second:
        first.sendall(head + b"h")
        time.sleep(0.1)
        second.sendall(head + b"hi")
        assert json.loads(answers(second)[0][2]) == [False, False]
        first.sendall(b"i")
        assert json.loads(answers(first)[0][2]) == [True, True]
