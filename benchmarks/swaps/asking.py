"""A client process that asks without pause over several connections and checks every byte of every answer's core.

One thread looks after all connections. What it does to a request costs some 20 microseconds of CPU, while the other
connections wait; the time of an answer is taken before it is checked. The clock is that of the machine, so times are
those of whoever changes the model.
"""

import contextlib
import multiprocessing
import selectors
import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from model.errors import HdrmError

__all__ = ["FAILED", "MIXED", "Asking", "Question", "Seen", "asking"]

Float64 = npt.NDArray[np.float64]
Int8 = npt.NDArray[np.int8]

MIXED, FAILED = 2, 3  # outcomes beside the number of the model
END_SECONDS = 60.0
POLL_SECONDS = 0.5


class Question(NamedTuple):
    """What is asked, and the two answers that are right.

    Attributes:
        body: JSON of the request.
        cores: JSON of the answer by each of two models, without what differs from call to call.
    """

    body: bytes
    cores: tuple[bytes, bytes]


class Seen(NamedTuple):
    """All requests, in the order of their ends.

    Attributes:
        started, ended: seconds of the monotonic clock, (n,) float64.
        connection: which, (n,) int8.
        outcome: number of the model that answered, MIXED or FAILED, (n,) int8.
        cpu_seconds: that the client took.
    """

    started: Float64
    ended: Float64
    connection: Int8
    outcome: Int8
    cpu_seconds: float


class Asking:
    """A client process that is running.

    Args:
        process: the process.
        answered: number of the model that answered last, by connection; -1 before the first answer.
        requests: how many have ended.
        ended: tells it to end.
        path: where it writes what it saw.
    """

    def __init__(
        self,
        process: Any,
        answered: Sequence[int],
        requests: "Synchronized[int]",
        ended: Event,
        path: Path,
    ) -> None:
        self._process = process
        self._answered = answered
        self._requests = requests
        self._ended = ended
        self._path = path

    @property
    def requests(self) -> int:
        """How many have ended."""
        return self._requests.value

    def swapped(self, wanted: int) -> bool:
        """Whether every connection had its last answer from this model.

        Raises:
            HdrmError: the process has died.
        """
        if not self._process.is_alive():
            raise HdrmError(f"the client ended with status {self._process.exitcode}")
        return all(number == wanted for number in self._answered)

    def end(self) -> Seen:
        """What it saw.

        Raises:
            HdrmError: it does not end, or has died.
        """
        self._ended.set()
        self._process.join(END_SECONDS)
        if self._process.exitcode != 0:
            raise HdrmError(f"the client ended with status {self._process.exitcode}")
        with np.load(self._path) as found:
            return Seen(
                started=found["started"],
                ended=found["ended"],
                connection=found["connection"],
                outcome=found["outcome"],
                cpu_seconds=float(found["cpu_seconds"]),
            )


@contextlib.contextmanager
def asking(url: str, questions: Sequence[Question], connections: int, path: Path) -> Iterator[Asking]:
    """A client while the body runs, or until it is ended.

    Args:
        url: of the service.
        questions: taken in turn by whichever connection is next; more than there are connections.
        connections: how many ask at a time.
        path: of a file for what it sees.
    """
    context = multiprocessing.get_context("spawn")
    answered = context.RawArray("b", [-1] * connections)
    requests, ended = context.Value("q", 0, lock=False), context.Event()
    process = context.Process(
        target=_ask, args=(url, questions, answered, requests, ended, path), name="hdrm-asking", daemon=True
    )
    process.start()
    try:
        yield Asking(process, answered, requests, ended, path)
    finally:
        process.terminate()
        process.join()


class _Connection:
    """One of them, and the request that is under way."""

    def __init__(self, number: int, host: str, port: int) -> None:
        self.number = number
        self.socket = socket.create_connection((host, port), timeout=END_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.question = 0
        self.started = 0.0

    def ask(self, question: int, request: bytes) -> None:
        self.question, self.received = question, b""
        self.started = time.perf_counter()
        self.socket.sendall(request)


def _ask(
    url: str,
    questions: Sequence[Question],
    answered: Any,
    requests: Any,
    ended: Event,
    path: Path,
) -> None:
    place = urlsplit(url)
    host, port = str(place.hostname), int(place.port or 80)
    asked = [_request(host, question.body) for question in questions]
    # an answer is an envelope of its own, followed by the core but for its first character
    tails = [tuple(core[1:] for core in question.cores) for question in questions]
    started, finished, numbers, outcomes = array("d"), array("d"), array("b"), array("b")
    selector, turn = selectors.DefaultSelector(), 0

    def begin(connection: _Connection) -> None:
        nonlocal turn
        connection.ask(turn % len(asked), asked[turn % len(asked)])
        turn += 1

    def open_one(number: int) -> None:
        connection = _Connection(number, host, port)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        begin(connection)

    def note(connection: _Connection, now: float, outcome: int) -> None:
        started.append(connection.started)
        finished.append(now)
        numbers.append(connection.number)
        outcomes.append(outcome)
        answered[connection.number] = outcome
        requests.value += 1

    for number in range(len(answered)):
        open_one(number)
    while not ended.is_set():
        for key, _ in selector.select(POLL_SECONDS):
            connection: _Connection = key.data
            try:
                received = connection.socket.recv(1 << 16)
            except OSError:
                received = b""
            now = time.perf_counter()
            connection.received += received
            if not received:
                note(connection, now, FAILED)
                selector.unregister(connection.socket)
                connection.socket.close()
                open_one(connection.number)
            elif (body := _body(connection.received)) is not None:
                ok = connection.received.startswith(b"HTTP/1.1 200 ")
                question = connection.question
                note(connection, now, _judged(body, tails[question]) if ok else FAILED)
                begin(connection)
    np.savez(
        path,
        started=np.array(started),
        ended=np.array(finished),
        connection=np.array(numbers),
        outcome=np.array(outcomes),
        cpu_seconds=time.process_time(),
    )


def _request(host: str, body: bytes) -> bytes:
    head = f"POST /recommend HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def _body(received: bytes) -> bytes | None:
    """Of an answer; None while it is not whole."""
    head, found, body = received.partition(b"\r\n\r\n")
    if not found:
        return None
    length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return body if len(body) >= int(length) else None


def _judged(body: bytes, tails: Sequence[bytes]) -> int:
    """Number of the model whose answer it is, version and items and all; MIXED for none of them."""
    return next((number for number, tail in enumerate(tails) if body.endswith(tail)), MIXED)
