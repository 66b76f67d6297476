"""API keys: who is let in, to what, and how often; and that no key is in any log."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from model.errors import ConfigError
from service.app import create_app
from service.guard import scope_needed
from service.keys import KeyFile, Scope
from service.logs import formatter
from service.settings import Settings, load_settings
from tests.service.conftest import DEADLINE, RedisServer, ServeProcess, converse, publish_model

HDRM = [sys.executable, "-m", "hdrm"]


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def guarded(settings: Settings, keys: KeyFile, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"keys_file": keys.path, "events_file": tmp_path / "events.sqlite"})


def made(keys: KeyFile, *scopes: Scope, rate: str | None = None) -> str:
    return keys.create("test", scopes or ("read", "write", "admin"), rate)[0]


def secret(token: str) -> str:
    """What of a key nobody else knows."""
    return token.split("_", 2)[-1]


ROUTES: list[tuple[str, str, Any, Scope]] = [
    ("POST", "/recommend", {"user_id": "100"}, "read"),
    ("POST", "/v1/recommend", {"user_id": "100"}, "read"),
    ("POST", "/v1/recommend/batch", {"requests": [{"user_id": "100"}]}, "read"),
    ("POST", "/v1/rank", {"user_id": "100", "item_ids": ["i1003"]}, "read"),
    ("GET", "/v1/items/i1003", None, "read"),
    ("GET", "/v1/items/i1003/similar", None, "read"),
    ("GET", "/v1/users/100/similar", None, "read"),
    ("GET", "/v1/popular", None, "read"),
    ("GET", "/metrics", None, "read"),
    ("POST", "/v1/events", {"event_id": "1", "user_id": "1", "item_id": "1", "type": "view"}, "write"),
    ("PUT", "/v1/items/n", {}, "write"),
    ("PATCH", "/v1/items/i1003", {"hidden": False}, "write"),
    ("GET", "/v1/users/100", None, "admin"),
    ("DELETE", "/v1/users/100", None, "admin"),
]


def test_a_key_opens_what_its_scopes_say_and_nothing_else(guarded: Settings, keys: KeyFile) -> None:
    scopes: tuple[Scope, ...] = ("read", "write", "admin")
    tokens = {scope: made(keys, scope) for scope in scopes}

    async def exchange(client: httpx.AsyncClient) -> None:
        for method, path, body, needed in ROUTES:
            for scope, token in tokens.items():
                for headers in ({"X-API-Key": token}, {"Authorization": f"Bearer {token}"}):
                    response = await client.request(method, path, json=body, headers=headers)
                    if scope == needed:
                        assert response.status_code < 400, (path, response.text)
                    else:
                        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
                        assert needed in response.json()["detail"]

    converse(create_app(guarded), exchange)


def test_every_route_of_the_description_says_what_it_needs(guarded: Settings, keys: KeyFile) -> None:
    made(keys)

    async def exchange(client: httpx.AsyncClient) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        told = {(method.upper(), path) for path, operations in paths.items() for method in operations}
        for method, path in told:
            needed = scope_needed(method, path)
            response = await client.request(method, path.replace("{item_id}", "i1003").replace("{user_id}", "100"))
            assert (response.status_code == 401) == (needed is not None), (method, path)
            assert ("security" in paths[path][method.lower()]) == (needed is not None)
        assert {path for _, path in told if scope_needed("GET", path) is None} == {"/livez", "/readyz"}
        for path in ("/docs", "/openapi.json", "/livez", "/readyz"):
            assert (await client.get(path)).status_code == 200
        reader = {"X-API-Key": made(keys, "read")}
        for path in ("/v1/users/similar", "/v1/users/a/similar/", "/v1/users/a/b/similar", "/v1/users/a%2Fsimilar"):
            assert (await client.get(path, headers=reader)).status_code == 403
        for path in ("/", "/nowhere", "/v1/models", "//livez", "/docsx", "/livez/"):
            assert (await client.get(path)).status_code == 401

    converse(create_app(guarded), exchange)


def test_a_wrong_a_revoked_a_missing_and_an_overused_key(
    guarded: Settings, keys: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    good, limited = made(keys), made(keys, "read", rate="3/hour")
    revoked, key = keys.create("old", ("read",), None)
    tokens = [good, limited, revoked, "hdrm_00000000_x", "swordfish"]

    async def exchange(client: httpx.AsyncClient) -> None:
        async def ask(token: str | None) -> httpx.Response:
            headers = {} if token is None else {"X-API-Key": token}
            return await client.post("/recommend", json={"user_id": "100"}, headers=headers)

        assert (await ask(revoked)).status_code == 200
        keys.revoke(key.id)
        wrong = [good[:-1], good + "x", good.upper(), "hdrm__", "hdrm_", ""]
        for token in (revoked, None, *tokens[3:], *wrong):
            response = await ask(token)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.headers["content-type"] == "application/problem+json"
        strange = await client.post("/recommend", json={"user_id": "100"}, headers=[(b"X-API-Key", b"hdrm_\xe9")])
        assert strange.status_code == 401
        assert [(await ask(limited)).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        over = await ask(limited)
        assert (over.json()["code"], 0 < int(over.headers["retry-after"]) <= 3600) == ("rate_limited", True)
        assert (await ask(good)).status_code == 200

    with caplog.at_level(logging.DEBUG):
        converse(create_app(guarded), exchange)
    lines = "\n".join(formatter().format(record) for record in caplog.records)
    assert '"key": "' in lines  # the id of the key is there
    assert not any(secret(token) in lines for token in (good, limited, revoked, "swordfish"))


def test_a_rate_is_counted_over_all_replicas_by_redis(guarded: Settings, keys: KeyFile, redis: RedisServer) -> None:
    token = made(keys, "read")
    settings = guarded.model_copy(
        update={"redis_url": Settings(redis_url=redis.url).redis_url, "rate_limit": "4/hour", "events": "sqlite"}
    )

    async def exchange(client: httpx.AsyncClient) -> None:
        async def status() -> int:
            headers = {"X-API-Key": token}
            return (await client.post("/recommend", json={"user_id": "100"}, headers=headers)).status_code

        statuses.append(await status())
        statuses.append(await status())

    statuses = list[int]()
    for _ in range(3):
        converse(create_app(settings), exchange)
    assert statuses == [200, 200, 200, 200, 429, 429]
    redis.stop()  # each process counts for itself then, and nothing fails
    converse(create_app(settings), exchange)
    assert statuses[-2:] == [200, 200]


def test_a_batch_counts_for_as_many_as_it_has(guarded: Settings, keys: KeyFile) -> None:
    token = made(keys, "read", rate="5/hour")

    async def exchange(client: httpx.AsyncClient) -> None:
        async def status(entries: int) -> int:
            body = {"requests": [{"user_id": "100"}] * entries}
            response = await client.post("/v1/recommend/batch", json=body, headers={"X-API-Key": token})
            return response.status_code

        assert [await status(3), await status(3), await status(1)] == [200, 429, 200]

    converse(create_app(guarded), exchange)


def test_without_keys_nobody_is_asked_and_the_first_key_changes_that(guarded: Settings, keys: KeyFile) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        async def status(token: str = "") -> int:
            headers = {"X-API-Key": token}
            return (await client.post("/recommend", json={"user_id": "100"}, headers=headers)).status_code

        assert await status() == 200
        token = made(keys)
        assert [await status(), await status(token)] == [401, 200]
        content = keys.path.read_bytes()
        for broken in (b"", b"{", b'{"keys": [{"id": 1}]}'):
            keys.path.write_bytes(broken)
            assert [await status(), await status(token)] == [401, 401]
        keys.path.write_bytes(content)
        assert await status(token) == 200
        keys.path.unlink()  # whoever can do that by mistake opens nothing
        assert [await status(), await status(token)] == [401, 401]

    converse(create_app(guarded), exchange)


def test_the_file_holds_no_key_and_survives_writers_at_the_same_time(keys: KeyFile) -> None:
    tokens = list[str]()
    threads = [threading.Thread(target=lambda: tokens.append(made(keys, "read"))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = keys.path.read_text()
    assert len(json.loads(content)["keys"]) == len(set(tokens)) == 20
    assert not any(secret(token) in content for token in tokens)
    found = KeyFile(keys.path).current()
    assert found is not None
    assert all(found.find(token) for token in tokens)
    assert keys.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "scopes", "rate", "message"),
    [
        (" ", ("read",), None, "--name"),
        ("x", (), None, "--scope: got none, allowed: read, write, admin"),
        ("x", ("root",), None, "--scope: got root"),
        ("x", ("read",), "many", "rate: got 'many', expected"),
        ("x", ("read",), "0/second", "rate: got '0/second', expected"),
        ("x", ("read",), "10/second;5/minute", "rate: got '10/second;5/minute', expected"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    keys: KeyFile, name: str, scopes: Any, rate: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        keys.create(name, scopes, rate)
    assert not keys.path.exists()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HDRM, *arguments], capture_output=True, text=True, timeout=DEADLINE)


@pytest.fixture
def started() -> Iterator[Callable[..., ServeProcess]]:
    servers: list[ServeProcess] = []

    def start(models: Path, *options: str, **environment: str) -> ServeProcess:
        servers.append(ServeProcess(models, *options, **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path, started: Callable[..., ServeProcess]) -> None:
    """With a server of two workers that others can reach, which runs all the while."""
    models = publish_model(tmp_path / "models").root
    refused = run("serve", "--models", str(models), "--host", "0.0.0.0", "--port", "0")
    assert (refused.returncode, "hdrm keys create" in refused.stderr) == (1, True)
    assert "no keys in" in run("keys", "list", "--models", str(models)).stderr
    options = ["--models", str(models), "--name", "shop", "--scope", "read", "--scope", "write", "--rate", "50/second"]
    created = run("keys", "create", *options)
    token = created.stdout.strip()
    assert re.fullmatch(r"hdrm_[0-9a-f]{8}_[\w-]{43}", token)
    server = started(models, "--host", "0.0.0.0", "--workers", "2", TMPDIR=str(tmp_path))
    listed = json.loads(run("keys", "list", "--models", str(models), "--json").stdout)
    assert [(key["name"], key["scopes"], key["rate"], key["revoked_at"]) for key in listed] == [
        ("shop", ["read", "write"], "50/second", None)
    ]
    assert "digest" not in listed[0]
    with httpx.Client(base_url=server.url, timeout=DEADLINE, headers={"Connection": "close"}) as client:

        def statuses() -> set[int]:
            headers = {"X-API-Key": token}
            return {client.post("/recommend", json={"user_id": "1"}, headers=headers).status_code for _ in range(6)}

        assert client.get("/v1/popular").status_code == 401
        assert statuses() == {200}
        assert run("keys", "revoke", listed[0]["id"], "--models", str(models)).returncode == 0
        assert statuses() == {401}
    again = run("keys", "revoke", listed[0]["id"], "--models", str(models))
    assert (again.returncode, "hdrm keys list" in again.stderr) == (1, True)
    assert "shop" in run("keys", "list", "--models", str(models)).stdout
    assert server.end() == 0
    assert token not in server.log


def test_pages_of_other_origins_may_ask_only_where_they_are_allowed(settings: Settings) -> None:
    preflight = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    async def closed(client: httpx.AsyncClient) -> None:
        response = await client.options("/recommend", headers=preflight)
        assert response.status_code == 405
        response = await client.post("/recommend", json={"user_id": "100"}, headers={"Origin": "https://shop.example"})
        assert "access-control-allow-origin" not in response.headers

    async def opened(client: httpx.AsyncClient) -> None:
        response = await client.options("/recommend", headers=preflight)
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "https://shop.example")
        response = await client.post("/recommend", json={"user_id": "100"}, headers={"Origin": "https://shop.example"})
        assert response.headers["access-control-allow-origin"] == "https://shop.example"
        other = await client.options("/recommend", headers=preflight | {"Origin": "https://other.example"})
        assert other.status_code == 400

    converse(create_app(settings), closed)
    converse(create_app(settings.model_copy(update={"cors_origins": ["https://shop.example"]})), opened)


def test_a_rate_in_the_settings_has_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HDRM_RATE_LIMIT", "often")
    with pytest.raises(ConfigError, match=r"HDRM_RATE_LIMIT: .*expected a number of requests"):
        load_settings()


def test_a_port_of_loopback_needs_no_key(tmp_path: Path, started: Callable[..., ServeProcess]) -> None:
    server = started(publish_model(tmp_path / "models").root)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))):
        assert httpx.get(f"{server.url}/v1/popular").status_code == 200
