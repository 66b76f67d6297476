"""Around every request: its id, its time, its line in the log, the bound of its body, the last resort for errors."""

import asyncio
import logging
import re
import time
from contextlib import nullcontext

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem, internal_error, problem_response
from service.ids import new_id
from service.peer import peer_of
from service.telemetry import Telemetry
from service.tracing import Tracing

__all__ = ["BodyLimit", "RequestContext"]

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
PROBES = {"/livez", "/readyz", "/metrics"}
CLIENT_CLOSED_REQUEST = 499

access = logging.getLogger("hdrm.access")
logger = logging.getLogger("hdrm.service")


class RequestContext:
    """The outermost layer: X-Request-ID in and out, Server-Timing, latency metric, access log, traces, 500 for what
    nothing else caught.

    Args:
        app: what is inside.
        telemetry: gets the latency.
        tracing: gets a span; None for no traces.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry, tracing: Tracing | None = None) -> None:
        self.app = app
        self.telemetry = telemetry
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; the log line has neither body nor ids of users, and the path as its route's template."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        request_id = given if REQUEST_ID.fullmatch(given) else new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        with self.tracing.span(scope) if self.tracing is not None else nullcontext():
            await self._answer(scope, receive, send, started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, started: float) -> None:
        state, request_id = scope["state"], scope["state"]["request_id"]
        header = (b"x-request-id", request_id.encode())
        status, complete = 0, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, complete
            if message["type"] == "http.response.start":
                status = message["status"]
                total = b"total;dur=%.3f" % ((time.perf_counter() - started) * 1000)
                timing = b"%b, %b" % (state["phases"], total) if "phases" in state else total
                message["headers"] = [*message.get("headers", ()), header, (b"server-timing", timing)]
            else:
                complete = not message.get("more_body", False)
            await send(message)

        peer = peer_of(scope)
        peer.serving = asyncio.current_task()
        try:
            await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            if not peer.gone:
                raise
        except Exception as error:
            logger.error("request failed", exc_info=error, extra={"fields": {"request_id": request_id}})
            if status and not complete:  # too late for an error answer: let the server close the connection
                raise
            if not status:
                await problem_response(Request(scope), internal_error())(scope, receive, send_with_id)
        finally:
            peer.serving = None
            self._report(scope, status or CLIENT_CLOSED_REQUEST, time.perf_counter() - started)

    def _report(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        # the framework's route, or the path of what was answered before it
        route = scope["state"].get("route") or getattr(scope.get("route"), "path", "unmatched")
        self.telemetry.time_request(method, route, status, seconds)
        scope["state"] |= {"method": method, "route": route, "status": status}
        level = logging.DEBUG if route in PROBES and status < 400 else logging.INFO
        if access.isEnabledFor(level):
            fields = {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 3),
                "request_id": scope["state"]["request_id"],
            }
            if "key_id" in scope["state"]:
                fields["key"] = scope["state"]["key_id"]
            access.log(level, "request", extra={"fields": fields})


class BodyLimit:
    """Refuses longer bodies with 413, by their announced length or as they arrive, and slow ones with 408.

    Args:
        app: what is inside.
        max_bytes: longest body that is read.
        seconds: longest time it may take to arrive.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float = 10.0) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self.max_bytes:
            await problem_response(Request(scope), self._problem())(scope, receive, send)
            return
        received, whole = 0, False
        deadline = asyncio.get_running_loop().time() + self.seconds

        async def bounded() -> Message:
            nonlocal received, whole
            try:
                async with asyncio.timeout_at(None if whole else deadline):
                    message = await receive()
            except TimeoutError:
                detail = f"The body did not arrive within {self.seconds:g} seconds."
                raise Problem(408, "body_too_slow", detail, headers={"Connection": "close"}) from None
            whole = not message.get("more_body", False)  # what follows is the client's leaving, whenever that is
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise self._problem()
            return message

        await self.app(scope, bounded, send)

    def _problem(self) -> Problem:
        return Problem(413, "body_too_long", f"The body is longer than {self.max_bytes} bytes.")
