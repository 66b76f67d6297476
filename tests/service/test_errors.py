"""Every error is a problem document, whatever was sent."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import HTTPException
from starlette.responses import StreamingResponse

from model.errors import ArtifactError, UnavailableError
from model.gather import ConditionGather
from service.app import create_app
from service.settings import Settings
from tests.service.conftest import converse

SECRET = "swordfish-41"
MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id", "errors"}


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert set(document) == MEMBERS
    assert document["status"] == status
    assert document["code"] == code
    assert document["type"] == f"urn:hdrm:problem:{code}"
    assert document["request_id"] == response.headers["x-request-id"]
    assert SECRET not in response.text
    return document


INVALID: list[tuple[str | bytes, str]] = [
    ('{"user_id": "100", "k": 0}', "k"),
    ('{"user_id": "100", "k": 501}', "k"),
    ('{"user_id": "100", "k": "10"}', "k"),
    ('{"user_id": "100", "k": 10.5}', "k"),
    ('{"user_id": "100", "k": true}', "k"),
    ('{"user_id": "100", "k": null}', "k"),
    ('{"user_id": "100", "k": NaN}', "k"),
    ('{"user_id": "100", "k": 1e400}', "k"),
    ('{"user_id": "100", "k": 123456789012345678901234567890}', "k"),
    ('{"k": 10}', "user_id"),
    ('{"user_id": ""}', "user_id"),
    ('{"user_id": 100}', "user_id"),
    ('{"user_id": null}', "user_id"),
    (json.dumps({"user_id": SECRET * 30}), "user_id"),
    ('{"user_id": "100", "exclude_seen": 1}', "exclude_seen"),
    ('{"user_id": "100", "exclude_seen": "yes"}', "exclude_seen"),
    ('{"user_id": "100", "fallback": "swordfish-41"}', "fallback"),
    ('{"user_id": "100", "user": "swordfish-41"}', "user"),
    ('{"user_id": "100", "\\ud800": 1}', "body"),
    ('{"user_id": "\\ud800"}', "user_id"),
    ('{"user_id": "100"', "body"),
    ("swordfish-41", "body"),
    ("", "body"),
    ("null", "body"),
    ('["100"]', "body"),
    ('"100"', "body"),
    ('{"user_id": "100", "k": ' + "9" * 5000 + "}", "body"),
    ("[" * 200_000, "body"),
    (b'{"user_id": "\xff\xfe"}', "body"),
]


@pytest.mark.parametrize(("body", "field"), INVALID, ids=[str(n) for n in range(len(INVALID))])
def test_an_invalid_request_is_a_422_that_names_the_field(settings: Settings, body: str | bytes, field: str) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        response = await client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
        document = check_problem(response, 422, "invalid_request")
        assert [error["field"] for error in document["errors"]] == [field]
        assert field in document["detail"]

    converse(create_app(settings), exchange)


def test_allowed_values_are_named(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        response = await client.post("/recommend", json={"k": 501, "exclude_seen": 0, "fallback": "x", "more": 1})
        errors = {error["field"]: error.get("allowed") for error in response.json()["errors"]}
        assert errors == {
            "k": "whole numbers, 1 to 500",
            "exclude_seen": "true, false",
            "fallback": "popular, error",
            "more": None,
        }

    converse(create_app(settings), exchange)


def test_allowed_values_are_named_wherever_the_field_stands(settings: Settings) -> None:
    ids, objects = "text of 1 to 256 characters", "objects"
    fields = "item_id, rank, score, distance, title, year, categories, reasons"

    async def exchange(client: httpx.AsyncClient) -> None:
        for method, path, body, field, allowed in (
            ("GET", "/v1/popular?window_seconds=0", None, "window_seconds", "numbers above 0, up to 2.592e+06"),
            ("GET", "/v1/popular?category=", None, "category", ids),
            ("POST", "/recommend", {"user_id": "1", "filter": 3}, "filter", objects),
            ("POST", "/recommend", {"user_id": "1", "filter": {"year": [1]}}, "filter.year", objects),
            ("POST", "/recommend", {"history": [1]}, "history.0", ids),
            ("POST", "/recommend", {"user_ids": ["1", ""]}, "user_ids.1", ids),
            ("POST", "/recommend", {"user_id": "1", "fields": ["nope"]}, "fields.0", fields),
        ):
            response = await client.request(method, path, json=body)
            (error,) = check_problem(response, 422, "invalid_request")["errors"]
            assert (error["field"], error.get("allowed")) == (field, allowed)
        for path, name in (("/v1/recommend/batch", "requests"), ("/v1/events", "events")):
            answer = (await client.post(path, json={name: [7]})).json()
            (found,) = (
                answer["results"][0]["problem"]["errors"] if name == "requests" else answer["errors"][0]["errors"]
            )
            assert found == {"field": "body", "message": "expected a JSON object", "allowed": "objects"}

    converse(create_app(settings), exchange)


def test_an_id_that_is_no_utf_8_is_no_other_id(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        for method, path, field in (("PUT", "/v1/items/%FF", "item_id"), ("DELETE", "/v1/users/%FF", "user_id")):
            (error,) = check_problem(await client.request(method, path, json={}), 422, "invalid_request")["errors"][:1]
            assert (error["field"], error["message"]) == (field, "not percent-encoded UTF-8")

    converse(create_app(settings), exchange)


def test_probes_answer_to_head_as_well(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        for path in ("/livez", "/readyz"):
            assert (await client.head(path)).status_code == 200

    converse(create_app(settings), exchange)


def test_a_body_without_a_json_content_type_is_told_what_is_expected(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await client.post("/recommend", content='{"user_id": "100"}', headers=form)
        (error,) = check_problem(response, 422, "invalid_request")["errors"]
        assert error["field"] == "body"
        assert "application/json" in error["message"]

    converse(create_app(settings), exchange)


def test_many_errors_give_a_short_document(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        response = await client.post("/recommend", json={f"f{n}" * 40: n for n in range(100)})
        assert len(check_problem(response, 422, "invalid_request")["errors"]) == 20
        assert len(response.content) < 10_000
        many = {f"f{n}": n for n in range(101)}
        for path, body in (
            ("/recommend", many),
            ("/v1/recommend/batch", {"requests": [{"user_id": "100"}, many]}),
            ("/v1/rank", {"user_id": "100", "filter": many}),
            ("/v1/events", {"events": [many]}),
        ):
            (error,) = check_problem(await client.post(path, json=body), 422, "invalid_request")["errors"]
            assert error == {
                "field": "body",
                "message": "an object has 101 fields",
                "allowed": "objects of at most 100 fields",
            }

    converse(create_app(settings), exchange)


def test_unknown_paths_and_methods(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        for path in ("/", "/recommend/", "/v2/recommend", "/%0d%0aX: 1", "/%ff"):
            check_problem(await client.post(path, json={}), 404, "not_found")
        for method, path, allowed in (
            ("GET", "/recommend", "POST"),
            ("BREW", "/livez", "GET"),
            ("PUT", "/docs", "GET"),
        ):
            response = await client.request(method, path)
            check_problem(response, 405, "method_not_allowed")
            assert allowed in response.headers["allow"]

    converse(create_app(settings), exchange)


def test_a_long_body_is_refused_by_its_length_or_as_it_comes(settings: Settings) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b" " * 1000

    async def exchange(client: httpx.AsyncClient) -> None:
        kind = {"Content-Type": "application/json"}
        check_problem(await client.post("/recommend", content=b" " * 5000, headers=kind), 413, "body_too_long")
        check_problem(await client.post("/recommend", content=pieces(), headers=kind), 413, "body_too_long")
        padded = b'{"user_id": "100"}' + b" " * 4000
        assert (await client.post("/recommend", content=padded, headers=kind)).status_code == 200

    converse(create_app(settings.model_copy(update={"max_body_bytes": 4096})), exchange)


def test_an_unexpected_error_is_a_500_without_internals_and_the_worker_lives_on(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The items' messages are taken away from the loaded model, so that inference fails."""
    app = create_app(settings)

    async def exchange(client: httpx.AsyncClient) -> None:
        engine = app.framework.state.roster.current.answers.engine
        recommender, model = engine._recommender, engine.loaded.artifact.model
        gather = recommender.gather
        recommender.gather = ConditionGather(model.config, model.weights, model.vectors, model.messages[:0])
        try:
            response = await client.post("/recommend", json={"user_id": "100"}, headers={"X-Request-ID": "r-1"})
        finally:
            recommender.gather = gather
        document = check_problem(response, 500, "internal_error")
        assert "Error" not in document["detail"]
        assert (await client.post("/recommend", json={"user_id": "100"})).json()["strategy"] == "hdrm"

    with caplog.at_level(logging.ERROR):
        converse(app, exchange)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.__dict__["fields"] == {"request_id": "r-1"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ArtifactError(f"/models/{SECRET}: damaged"), 500, "internal_error"),
        (UnavailableError(f"{SECRET} is gone"), 503, "unavailable"),
        (ValueError(SECRET), 500, "internal_error"),
    ],
)
def test_our_own_errors_are_mapped_and_their_text_stays_inside(
    settings: Settings, error: Exception, status: int, code: str
) -> None:
    app = create_app(settings)

    @app.framework.get("/broken")
    async def broken() -> None:
        raise error

    async def exchange(client: httpx.AsyncClient) -> None:
        response = await client.get("/broken")
        check_problem(response, status, code)
        assert ("retry-after" in response.headers) == (status == 503)

    converse(app, exchange)


def test_other_http_errors_are_problems_too(settings: Settings) -> None:

    app = create_app(settings)

    @app.framework.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, SECRET)

    async def exchange(client: httpx.AsyncClient) -> None:
        check_problem(await client.get("/teapot"), 418, "http_418")

    converse(app, exchange)


def test_without_a_model_nothing_is_ready_but_the_process_lives(settings: Settings) -> None:

    async def run() -> None:
        transport = httpx.ASGITransport(create_app(settings))  # the lifespan has not run
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            assert (await client.get("/livez")).json() == {"status": "ok"}
            for response in (await client.get("/readyz"), await client.post("/recommend", json={"user_id": "1"})):
                check_problem(response, 503, "model_unavailable")
                assert response.headers["retry-after"] == "1"

    asyncio.run(run())


def test_the_api_description_documents_problems(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        for path in ("/recommend", "/v1/recommend"):
            responses = document["paths"][path]["post"]["responses"]
            assert set(responses) == set(["200", "401", "403", "404", "408", "409", "413", "422", "429", "500", "503"])
            for status in set(responses) - {"200"}:
                schema = responses[status]["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemDetails"}
        assert set(document["components"]["schemas"]["ProblemDetails"]["properties"]) == MEMBERS
        assert document["components"]["schemas"]["RecommendRequest"]["examples"]
        assert "text/html" in (await client.get("/docs")).headers["content-type"]

    converse(create_app(settings), exchange)


def test_an_error_after_the_answer_has_begun_is_logged_and_cuts_it_off(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"begun"
        raise ValueError(SECRET)

    @app.framework.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(pieces())

    async def exchange(client: httpx.AsyncClient) -> None:
        with pytest.raises(Exception, match=SECRET):
            await client.get("/stream")

    with caplog.at_level(logging.ERROR):
        converse(app, exchange)
    assert "request failed" in caplog.messages
