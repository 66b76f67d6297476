"""HTTP/1.1 on a connection, with bounds: how long a request's head may be, and how long it may take to arrive.

uvicorn's parser has neither bound, and answers what is no HTTP with plain text. A body has its bounds in
service.middleware. The application learns from here, too, when a client hangs up.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import MEDIA_TYPE, Problem, problem_document
from service.ids import new_id
from service.peer import EXTENSION, Peer

__all__ = ["BoundedHttp"]


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol; a request whose head is too long, too slow or no HTTP ends with a problem document.

    Attributes:
        max_head_bytes: longest head, in bytes.
        head_seconds: longest time from a connection's start, or a request's first byte, to the end of its head.
        short_body_bytes: bodies up to this length are shown to the application as soon as they are there.
    """

    max_head_bytes = 64 * 1024
    head_seconds = 10.0
    short_body_bytes = 16 * 1024

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._in_body = False
        self._peer = Peer()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)
        self._peer.leave()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self._idle():
            self._await_head()
        super().data_received(data)
        if self._deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > self.max_head_bytes:
                self._refuse(Problem(431, "head_too_long", f"The head is longer than {self.max_head_bytes} bytes."))

    def on_headers_complete(self) -> None:
        self._head_arrived()
        self._in_body = True
        self.scope["extensions"] = {EXTENSION: {"peer": self._peer, "requests": self.tasks}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        if len(self.cycle.body) <= self.short_body_bytes:
            # what comes with its head can be read without waiting
            self.scope["extensions"][EXTENSION]["body"] = bytes(self.cycle.body)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(400, "invalid_http", "This is not a valid HTTP/1.1 request."))

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

    def _head_is_late(self) -> None:
        if self._head_bytes:
            problem = Problem(408, "head_too_slow", f"The head did not arrive within {self.head_seconds:g} seconds.")
            self._refuse(problem)
        else:  # nothing was asked
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        self._head_arrived()
        if self.transport.is_closing():
            return
        body = problem_document(problem, instance="", request_id=new_id())
        head = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        if self._idle():  # otherwise these bytes would stand in the middle of another answer
            self.transport.write(STATUS_LINE[problem.status_code] + head + body)
        self.transport.close()
