"""HTTP/1.1 on a connection, with bounds: how long a request's head may be, and how long it may take to arrive; how much
may stand around a body in chunks; how long what nobody reads any more may go on, on either side.

uvicorn's parser has none of them, answers what is no HTTP with plain text, and passes over the body of a request that
offers another protocol. A body that is read has its bounds in service.middleware. The application learns from here,
too, when a client hangs up.
"""

import asyncio
import sys
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import MEDIA_TYPE, Problem, problem_document
from service.ids import new_id
from service.peer import EXTENSION, Peer

__all__ = ["BoundedHttp"]


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol; a request whose head is too long, too slow or no HTTP ends with a problem document.

    Attributes:
        max_head_bytes: longest head, in bytes.
        head_seconds: longest time from a connection's start, or a request's first byte, to the end of its head; and
            from an answer to the end of a body that was not waited for.
        chunk_bytes: longest frame of a chunk, whose extensions count, for each of the body's bytes; and so much in all
            once, as for a head, trailers included.
        short_body_bytes: bodies up to this length are shown to the application as soon as they are there.
        write_seconds: how long an answer may wait for a client that takes nothing of it, or hardly anything.
        least_written: bytes that it has to take in this time.
    """

    max_head_bytes = 64 * 1024
    head_seconds = 10.0
    chunk_bytes = 16
    short_body_bytes = 16 * 1024
    write_seconds = 15.0
    least_written = 15 * 1024

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._long = False  # whether the head may be too long
        self._in_body = False
        self._room = 0  # bytes that may still come beside the body's own
        self._rest: asyncio.TimerHandle | None = None
        self._unwritten: asyncio.TimerHandle | None = None
        self._parsed = b""  # what the parser was given
        self._again: bytes | None = None  # what it is to be given in the place of that
        self._last: Problem | None = None  # what the connection ends with, once all before it is answered
        self._peer = Peer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        self._rest_arrived()
        self.resume_writing()
        super().connection_lost(exc)
        self._peer.leave()

    def data_received(self, data: bytes) -> None:
        if self._last is not None:
            return
        if self._deadline is None and self._idle():
            self._await_head()
        if self._deadline is not None:
            self._head_bytes += len(data)
            self._long = self._head_bytes > self.max_head_bytes
        self._room -= len(data)
        parsed: bytes | None = data
        while parsed is not None:
            self._parsed, self._again = parsed, None
            super().data_received(parsed)
            parsed = self._again
        if self._long and self._deadline is not None:
            self._refuse(self._too_long())
        if self._in_body and self._room < 0:
            self._refuse(Problem(400, "invalid_http", "There is more around the body than in it."))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # what follows a body is read by nobody
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():  # read again, see below
            return
        if self._long and len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > self.max_head_bytes:
            self._refuse(self._too_long())
            raise ValueError("the parser is to stop")  # which uvicorn takes for a malformed request, refused already
        self._head_arrived()
        self._long, self._room = False, self.max_head_bytes
        self.scope["extensions"] = {EXTENSION: {"peer": self._peer, "requests": self.tasks}}
        super().on_headers_complete()
        self._in_body = True  # not where its address is none

    def on_body(self, body: bytes) -> None:
        self._room += len(body) * (1 + self.chunk_bytes)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._last is not None and self._idle():
            self._refuse(self._last)
        if self._in_body and self._rest is None:
            self._rest = self.loop.call_later(self.head_seconds, self.transport.close)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body = False
        self._rest_arrived()
        if len(self.cycle.body) <= self.short_body_bytes:
            # what comes with its head can be read without waiting
            self.scope["extensions"][EXTENSION]["body"] = bytes(self.cycle.body)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(400, "invalid_http", "This is not a valid HTTP/1.1 request."))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_writing()

    def resume_writing(self) -> None:
        if self._unwritten is not None:
            self._unwritten.cancel()
            self._unwritten = None
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        """To what it is already: whoever offers another protocol takes an answer in this one (RFC 9110, 7.8)."""
        return True

    def handle_websocket_upgrade(self) -> None:
        """The parser has stopped behind the head; it is read again without the offer, and then what comes after it."""
        stopped = sys.exception()
        assert isinstance(stopped, httptools.HttpParserUpgrade)
        rest, method = self._parsed[stopped.args[0] :], self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(Problem(400, "invalid_http", "This is no proxy."))
            return
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                value = b", ".join(one for one in value.split(b",") if one.strip().lower() != b"upgrade")
            if name != b"upgrade" and (name != b"connection" or value):
                lines.append(b"%b: %b" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._again = b"\r\n".join(lines) + b"\r\n\r\n" + rest

    def _await_writing(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unwritten = self.loop.call_later(self.write_seconds, self._look_at_writing, left)

    def _look_at_writing(self, left: int) -> None:
        if left - self.transport.get_write_buffer_size() < self.least_written:
            self.transport.abort()
        else:
            self._await_writing()

    def _idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return not self._in_body and (cycle is None or cycle.response_complete)

    def _await_head(self) -> None:
        self._head_bytes = 0
        self._deadline = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _rest_arrived(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None

    def _head_is_late(self) -> None:
        if self._head_bytes:
            problem = Problem(408, "head_too_slow", f"The head did not arrive within {self.head_seconds:g} seconds.")
            self._refuse(problem)
        else:  # nothing was asked
            self.transport.close()

    def _too_long(self) -> Problem:
        return Problem(431, "head_too_long", f"The head is longer than {self.max_head_bytes} bytes.")

    def _refuse(self, problem: Problem) -> None:
        self._head_arrived()
        if self.transport.is_closing():
            return
        body = problem_document(problem, instance="", request_id=new_id())
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        if self._idle():
            self.transport.write(STATUS_LINE[problem.status_code] + head + body)
        elif not self._in_body:  # these bytes would stand in the middle of another answer
            self._last = problem
            return
        self.transport.close()
