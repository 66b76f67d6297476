"""Request ids, the access log, and the metrics."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from service.app import create_app
from service.logs import formatter
from service.settings import Settings
from tests.service.conftest import RedisServer, converse


@pytest.mark.parametrize("given", ["r-1", "x" * 128, 'a"b\\c'])
def test_a_sane_request_id_is_kept(settings: Settings, given: str) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        response = await client.post("/recommend", json={"user_id": "100"}, headers={"X-Request-ID": given})
        assert response.headers["x-request-id"] == response.json()["request_id"] == given

    converse(create_app(settings), exchange)


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "tab\there", "é"])
def test_another_one_is_replaced(settings: Settings, given: str) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        response = await client.get("/nowhere", headers=[(b"X-Request-ID", given.encode())])
        assert response.headers["x-request-id"] == response.json()["request_id"] != given
        assert len(response.json()["request_id"]) == 32

    converse(create_app(settings), exchange)


def test_the_access_log_has_routes_and_no_ids_of_users(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        await client.post("/recommend?token=swordfish", json={"user_id": "swordfish"})
        await client.get("/swordfish%0aforged")
        await client.get("/livez")

    with caplog.at_level(logging.INFO, logger="hdrm"):
        converse(create_app(settings), exchange)
    lines = [formatter().format(record) for record in caplog.records if record.name == "hdrm.access"]
    entries = [json.loads(line) for line in lines]
    assert [(e["method"], e["route"], e["status"]) for e in entries] == [
        ("POST", "/recommend", 200),
        ("GET", "unmatched", 404),
    ]
    assert all(e["ms"] > 0 and len(e["request_id"]) == 32 for e in entries)
    assert "swordfish" not in "".join(lines)


def test_a_log_line_is_one_line() -> None:
    try:
        raise ValueError("first\nsecond \ud800")
    except ValueError as error:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "a\nb %s", ("\u2028",), (type(error), error, None))
    line = formatter().format(record)
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["message"] == "a\nb \u2028"


def test_what_happens_is_counted(settings: Settings, redis: RedisServer) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        for user in ("100", "100", "stranger"):
            await client.post("/recommend", json={"user_id": user})
        await client.post("/v1/recommend", json={"user_id": "100", "k": 0})
        await client.request("SWORDFISH", "/swordfish")
        response = await client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        lines = response.text.splitlines()
        version = (await client.get("/readyz")).json()["model_version"]
        for expected in (
            'hdrm_request_seconds_count{method="POST",route="/recommend",status="200"} 3.0',
            'hdrm_request_seconds_count{method="POST",route="/v1/recommend",status="422"} 1.0',
            'hdrm_request_seconds_count{method="other",route="unmatched",status="404"} 1.0',
            'hdrm_cache_lookups_total{backend="redis",outcome="miss"} 1.0',
            'hdrm_cache_lookups_total{backend="redis",outcome="hit"} 1.0',
            f'hdrm_answers_total{{strategy="hdrm",version="{version}"}} 2.0',
            f'hdrm_answers_total{{strategy="popular",version="{version}"}} 1.0',
            "hdrm_inference_seconds_count 1.0",
            "hdrm_batch_queries_sum 1.0",
            f'hdrm_model_info{{version="{version}"}} 1.0',
            'hdrm_retrieval_recall{kind="scan"} 1.0',
            "hdrm_model_created_timestamp_seconds 1.7356896e+09",
            "hdrm_worker_starts_total 1.0",
        ):
            assert expected in lines
        retrievals = [float(line.split()[-1]) for line in lines if line.startswith("hdrm_retrievals_total")]
        assert sum(retrievals) == 1
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        assert "swordfish" not in response.text.lower()

    url = redis.url.replace("redis://", "redis://default:swordfish@")
    redis.command(b"CONFIG", b"SET", b"requirepass", b"swordfish")
    update = {"redis_url": SecretStr(url), "cache_max_bytes": 0}
    converse(create_app(settings.model_copy(update=update)), exchange)


def test_two_applications_in_one_process_count_apart(settings: Settings) -> None:
    first, second = create_app(settings), create_app(settings)

    async def count(client: httpx.AsyncClient) -> None:
        await client.post("/recommend", json={"user_id": "stranger"})
        counted = [
            line for line in (await client.get("/metrics")).text.splitlines() if line.startswith("hdrm_answers_total")
        ]
        assert [line.split()[-1] for line in counted] == ["1.0"]

    converse(first, count)
    converse(second, count)


def test_worker_processes_add_their_counts_up(tmp_path: Path) -> None:
    """Three processes that end before a fourth is asked for the metrics."""
    count = (
        "import pathlib, sys; from model.manifest import RetrievalInfo; from service.telemetry import Telemetry;"
        "t = Telemetry(pathlib.Path(sys.argv[1])); t.answers.labels('hdrm', 'v').inc(int(sys.argv[2]));"
        "t.count_rounds(1);"
        "found = RetrievalInfo(kind='approximate', overfetch={'20': 80}, probes=4, recall={'recall@20': 0.993});"
        "t.serve_model('v', found, f'2025-01-0{len(sys.argv[2])}T00:00:00Z');"
        "print(t.render().decode())"
    )
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for number in (1, 10, 100, 0):
        command = [sys.executable, "-c", count, str(tmp_path), str(number)]
        last = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert 'hdrm_answers_total{strategy="hdrm",version="v"} 111.0' in last
    assert "hdrm_retrieval_rounds_total 4.0" in last
    assert 'hdrm_model_info{version="v"} 1.0' in last
    assert 'hdrm_retrieval_recall{kind="approximate"} 0.993' in last
    assert "hdrm_model_created_timestamp_seconds 1.7356896e+09" in last  # of the one that came last
    assert "hdrm_worker_starts_total 4.0" in last


def test_a_probe_counts_as_no_lookup(settings: Settings) -> None:
    async def exchange(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200
        assert "hdrm_cache_lookups_total{" not in (await client.get("/metrics")).text

    converse(create_app(settings), exchange)
