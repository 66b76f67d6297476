"""The benchmark of serving: what it computes from runs, and a short one from start to end."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.serving.benchmark import CONNECTIONS, PATHS, Turn, ratios
from benchmarks.serving.load import Load
from hdrm.benchmark_serving import sizes_of
from hdrm.cli import app
from model.errors import ConfigError, UnavailableError
from tests.service.conftest import publish_model


def load(requests: int, p50: float = 1.0, p99: float = 2.0) -> Load:
    return Load(requests=requests, seconds=2.0, p50_ms=p50, p95_ms=p99, p99_ms=p99, refused=1, broken=2)


def test_ratios_are_medians_of_rounds_and_not_of_runs() -> None:
    turns = {(path, number): [Turn(load(50), load(100), 1.0, 1.0)] for path in PATHS for number in CONNECTIONS}
    # the machine was ten times as slow in the second round, for both
    turns["redis", 16] = [Turn(load(60), load(100), 1.0, 1.0), Turn(load(6), load(10), 1.0, 1.0)]
    turns["uncached", 1] = [Turn(load(1, p50=3.0), load(1, p50=2.0), 1.0, 1.0)]
    turns["uncached", 16] = [Turn(load(25, p99=5.0), load(100), 1.0, 1.0)]
    assert ratios(turns) == {
        "uncached_16": 0.25,
        "inprocess_16": 0.5,
        "redis_16": 0.6,
        "popular_16": 0.5,
        "p99_16": 2.5,
        "lone_p50": 1.5,
    }
    assert load(3).errors == 3


def test_without_wrk_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="wrk") as raised:
        CliRunner().invoke(app, ["benchmark", "serving", "--models", str(tmp_path)], catch_exceptions=False)
    assert "apt-get install wrk" in str(raised.value.hint)


def test_a_missing_folder_is_noticed_first(tmp_path: Path) -> None:
    arguments = ["benchmark", "serving", "--models", str(tmp_path), "--json", str(tmp_path / "no" / "s.json")]
    with pytest.raises(ConfigError, match="is not there"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.wrk
def test_every_path_is_measured_without_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.serving.benchmark.CONNECTIONS", (1, 16))
    store = publish_model(tmp_path / "models")
    out = tmp_path / "serving.json"
    options = ["--models", str(store.root), "--json", str(out), "--seconds", "1", "--rounds", "1", "--soak", "0.05"]
    done = CliRunner().invoke(app, ["benchmark", "serving", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document = json.loads(out.read_text())
    assert [(run["path"], run["connections"]) for run in document["runs"]] == [
        (path, connections) for connections in (1, 16) for path in ("noop", *PATHS)
    ]
    for run in document["runs"]:
        assert run["errors"] == 0
        assert run["requests_per_second"] > 0
        assert 0 < run["p50_ms"] <= run["p95_ms"] <= run["p99_ms"]
        assert run["rss_bytes"] > 10_000_000
    assert {"uncached_16", "inprocess_16", "redis_16", "lone_p50"} <= document["ratios"].keys()
    (sample,) = document["soak"]["samples"]
    assert sample["errors"] == 0
    assert 0 < sample["requests_per_second"] < document["soak"]["peak"]


@pytest.mark.wrk
def test_a_larger_model_is_measured_beside_a_smaller_one(tmp_path: Path) -> None:
    out = tmp_path / "growth.json"
    options = ["--sizes", "50:120,200:300", "--json", str(out), "--seconds", "1", "--rounds", "1"]
    done = CliRunner().invoke(app, ["benchmark", "growth", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document = json.loads(out.read_text())
    small, large = document["sizes"]
    assert (small["users"], small["items"], large["users"], large["items"]) == (50, 120, 200, 300)
    for size in (small, large):
        assert size["errors"] == 0
        assert 0 < size["ready_seconds"] < 60
        assert 0 < size["p50_ms"] <= size["p99_ms"]
        assert 1_000_000 < size["private_bytes"] < size["rss_bytes"] * 2
    assert document["p99_ratio"] == pytest.approx(large["p99_ms"] / small["p99_ms"])


@pytest.mark.parametrize("text", ["", "5", "5:6", "0:200", "5:200;6:300", "a:b", "5:200,", "10000001:200"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--sizes .*: expected USERS:ITEMS"):
        sizes_of(text)


def test_sizes_are_read() -> None:
    assert sizes_of("1000000:1000000,6000:3000") == [(6000, 3000), (1_000_000, 1_000_000)]
