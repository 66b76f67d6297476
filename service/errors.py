"""Every error leaves as application/problem+json (RFC 9457): one shape on all routes and statuses.

Neither internals nor what the client sent stand in a document; the name of an unknown field is the exception.
"""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from model.errors import HdrmError, NothingKeptError, UnavailableError
from service.events.schemas import EventBatch, EventRequest
from service.requests import (
    Activation,
    BatchRequest,
    CanaryWish,
    ItemFields,
    NewItem,
    PopularParams,
    RankRequest,
    RecommendRequest,
)
from service.responses import FieldProblem
from service.rules import allowed_values, entry_rule, rules_of

__all__ = [
    "MEDIA_TYPE",
    "Problem",
    "error_response",
    "field_problems",
    "install_handlers",
    "internal_error",
    "invalid",
    "problem_document",
    "problem_of",
    "problem_response",
]

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "1"
LONGEST_NAME = 100
MOST_ERRORS = 20

RULES = rules_of(
    (
        PopularParams,
        RecommendRequest,
        RankRequest,
        BatchRequest,
        EventRequest,
        EventBatch,
        NewItem,
        ItemFields,
        CanaryWish,
        Activation,
    )
)
PARTS = (["body"], ["query"], ["path"], ["header"])  # of a request
UNION_TAGS = ("event", "batch")  # which of the allowed bodies it was taken for

logger = logging.getLogger("hdrm.service")


class Problem(HTTPException):
    """An error answer. An HTTPException, so that it passes through FastAPI wherever it is raised.

    Args:
        status: HTTP status.
        code: stable name for programs.
        detail: one sentence for people.
        errors: fields that are wrong.
        headers: further headers, such as Allow; a 503 gets Retry-After by itself.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        retry = {"Retry-After": RETRY_AFTER_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        super().__init__(status, detail, {**retry, **(headers or {})})
        self.code = code
        self.errors = list(errors)


def problem_response(request: Request, problem: Problem) -> Response:
    """The document of a problem, for a request."""
    instance = quote(request.scope["path"], safe="/%", errors="replace")
    document = problem_document(problem, instance=instance, request_id=getattr(request.state, "request_id", ""))
    return Response(document, problem.status_code, problem.headers, MEDIA_TYPE)


def problem_document(problem: Problem, *, instance: str, request_id: str) -> bytes:
    """The JSON of a problem; `instance` is the path it occurred at, empty if there is none yet."""
    document = {
        "type": f"urn:hdrm:problem:{problem.code}",
        "title": HTTPStatus(problem.status_code).phrase,
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code,
        "request_id": request_id,
        "errors": [error.model_dump(exclude_none=True) for error in problem.errors],
    }
    return orjson.dumps(document)


def error_response(request: Request, error: Problem | HdrmError) -> Response:
    """The answer to a request that one of our own errors has ended.

    A HdrmError's message may name files, so it goes to the log and not to the client.
    """
    return problem_response(request, problem_of(error, request_id=getattr(request.state, "request_id", "")))


def problem_of(error: Exception, *, request_id: str) -> Problem:
    """What a client learns of an error; what it does not learn is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, NothingKeptError):
        return Problem(503, "events_unavailable", "This service keeps no events.")
    logger.error("request failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    if isinstance(error, UnavailableError):
        return Problem(503, "unavailable", "Something the service needs is not there now.")
    return internal_error()


def internal_error() -> Problem:
    """What a client learns of an unexpected failure."""
    return Problem(500, "internal_error", "The service failed to answer; its log has the cause under the request id.")


def install_handlers(app: FastAPI) -> None:
    """Let the application's errors be answered here."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(HdrmError, _expected)
    app.add_exception_handler(Exception, _unexpected)  # which is raised again afterwards


def invalid(errors: Sequence[Mapping[str, Any]]) -> Problem:
    """What pydantic found wrong with a request."""
    found = field_problems(errors)
    names = ", ".join(dict.fromkeys(one.field for one in found))
    return Problem(422, "invalid_request", f"Not valid: {names}.", errors=found)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(request, invalid(error.errors()))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, Problem):
        return problem_response(request, error)
    match error.status_code:
        case 400:  # FastAPI's, for a body it could not read: not UTF-8, nested too deep, a number too long
            unreadable = FieldProblem(field="body", message="not readable as JSON")
            problem = Problem(422, "invalid_request", "Not valid: body.", errors=[unreadable])
        case 404:
            problem = Problem(404, "not_found", "There is nothing at this path; /docs lists what there is.")
        case 405:
            methods = {method for route in _matching(request.scope) for method in route.methods or ()}
            headers = {"Allow": ", ".join(sorted(methods))}
            problem = Problem(405, "method_not_allowed", "This path has other methods.", headers=headers)
        case status:
            problem = Problem(status, f"http_{status}", f"{HTTPStatus(status).phrase}.", headers=error.headers)
    return problem_response(request, problem)


def _matching(scope: Scope) -> list[Route]:
    """The routes of a request's path, whatever their methods: the framework's own answer names those of one alone."""
    routes: list[Route] = scope["app"].state.routes
    return [route for route in routes if route.matches(scope)[0] != Match.NONE]


async def _expected(request: Request, error: Exception) -> Response:
    assert isinstance(error, HdrmError)
    return error_response(request, error)


async def _unexpected(request: Request, error: Exception) -> Response:
    return problem_response(request, internal_error())


def field_problems(errors: Sequence[Mapping[str, Any]]) -> list[FieldProblem]:
    """From pydantic's errors, the first ones; in FastAPI's, a location starts with where the value stood ("body")."""
    return [_field_problem(error) for error in errors[:MOST_ERRORS]]


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    match error["type"], _location(error):
        case "one_of" | "nothing", _:
            return FieldProblem(field=error["ctx"]["field"], message=error["msg"])
        case "json_invalid", _:
            return FieldProblem(field="body", message="not valid JSON")
        case "missing" | "model_attributes_type" | "model_type", ["body"]:
            return FieldProblem(
                field="body", message="expected a JSON object, sent with Content-Type: application/json"
            )
        case "model_attributes_type" | "model_type", location:
            return FieldProblem(field=_field(location), message="expected a JSON object", allowed="objects")
        case "extra_forbidden", location:
            return FieldProblem(field=_field(location), message="there is no such field")
        case "missing", location:
            field = _field(location)
            return FieldProblem(field=field, message="this field is required", allowed=_allowed(field))
        case _, location:
            field = _field(location)
            return FieldProblem(field=field, message=_printable(error["msg"]), allowed=_allowed(field))


def _field(location: Sequence[int | str]) -> str:
    """The name of a field, with those that it lies within; FastAPI's locations begin with where it stood."""
    names = location[1:] if list(location[:1]) in PARTS else location
    return _printable(".".join(map(str, names or location))) or "body"


def _location(error: Mapping[str, Any]) -> list[int | str]:
    match list(error["loc"]):
        case ["body", tag, *rest] if tag in UNION_TAGS and (rest or error["type"].startswith("model")):
            return ["body", *rest]
        case location:
            return location


def _allowed(field: str) -> str | None:
    """Of a field, which may be an entry of a list or lie within another."""
    *_, name = [part for part in field.split(".") if not part.isdecimal()] or [""]
    rule = RULES.get(name)
    if rule is None:
        return None
    return allowed_values(entry_rule(rule) if field[-1:].isdecimal() else rule)


def _printable(text: str) -> str:
    """Text that JSON can carry: lone surrogates replaced, cut to a length."""
    return text.encode("utf-8", "replace").decode()[:LONGEST_NAME]
