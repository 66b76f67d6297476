"""The benchmark of training: growth on synthetic data, and recall against seconds."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.memory import peak_rss
from benchmarks.training.document import Document, Pace, Point, Size
from benchmarks.training.growth import COLUMNS, exponent, exponents, measure_growth
from benchmarks.training.pace import measure_pace, reached
from hdrm.benchmark_training import numbers_of
from hdrm.cli import app
from model.errors import ConfigError
from tests.conftest import planted
from tests.training.test_tuning import TINY

RUNNER = CliRunner()
CHANGES = [argument for change in TINY for argument in ("--set", change)]


def silent(_name: str, _done: int, _total: int) -> None:
    """Nobody is told."""


def size(interactions: int, *, memory: int = 1_000) -> Size:
    return Size(
        interactions=interactions,
        users=interactions // 50,
        items=round(interactions**0.6),
        prepare_seconds=1e-6 * interactions,
        encoder_seconds=1e-9 * interactions**1.5,
        attention_seconds=1e-10 * interactions,
        diffusion_seconds=1e-12 * interactions**2,
        cpu_seconds=1e-6 * interactions,
        encoder_steps=1,
        diffusion_steps=1,
        memory_bytes=memory,
        process_bytes=memory,
    )


def test_exponents_are_log_log_slopes() -> None:
    assert exponent([1e4, 1e5, 1e6], [3.0, 30.0, 300.0]) == pytest.approx(1.0)
    slopes = exponents([size(10**4), size(10**5), size(10**6)])
    assert slopes.keys() == set(COLUMNS)
    expected = {
        "users": 1.0,
        "items": 0.6,
        "encoder_seconds": 1.5,
        "attention_seconds": 1.0,
        "diffusion_seconds": 2.0,
        "memory_bytes": 0.0,
    }
    for column, slope in expected.items():
        assert slopes[column] == pytest.approx(slope, abs=1e-3)


def test_memory_that_was_there_before_has_a_logarithm() -> None:
    assert exponents([size(10**4, memory=0), size(10**5, memory=10)])["memory_bytes"] == pytest.approx(1.0)


def test_one_size_has_no_exponent() -> None:
    assert exponents([size(10**4)]) == {}


def test_the_peak_covers_what_was_held() -> None:
    before = peak_rss()
    held = bytearray(before + 2**20)
    assert peak_rss() >= len(held) > before > 2**20


def test_a_size_that_fails_is_recorded() -> None:
    told: list[int] = []
    growth = measure_growth(
        [9_999], preset="default", changes=TINY, seed=0, epochs=1, on_size=told.append, on_phase=silent
    )
    assert told == [9_999]
    assert growth.sizes == []
    assert growth.failures == {
        "9999": "9,999 interactions: ValueError: interactions: got 9999, expected at least 10000"
    }
    assert growth.exponents == {}


@pytest.fixture(scope="module")
def pace() -> Pace:
    return measure_pace(planted(), preset="default", changes=TINY, levels=[2.0, 0.01], seed=0, on_phase=silent)


def test_the_clock_runs_on_and_recall_is_known_where_there_is_a_model(pace: Pace) -> None:
    assert all(earlier.seconds <= later.seconds for earlier, later in pairwise(pace.points))
    assert pace.points[0].stage == "encoder"
    for point in pace.points:
        assert (point.recall is not None) is (point.stage == "diffusion")
    assert pace.points[-1].seconds <= pace.models[0].fit_seconds


def test_hdrm_stands_first_with_the_recall_of_its_best_epoch(pace: Pace) -> None:
    hdrm, *others = pace.models
    assert [model.model.partition(",")[0] for model in pace.models] == ["HDRM", "EASE", "EASE + recency", "iALS"]
    best = max((point for point in pace.points if point.stage == "diffusion"), key=lambda point: point.score)
    assert hdrm.recall == best.recall
    assert (hdrm.recall + hdrm.ndcg) / 2 == pytest.approx(best.score)
    assert hdrm.matched_after is not None
    assert hdrm.matched_after <= best.seconds
    assert all(other.tuning_seconds is not None for other in others)


def test_levels_are_reached_or_not(pace: Pace) -> None:
    assert [level.recall for level in pace.levels] == [0.01, 2.0]
    assert pace.levels[0].seconds is not None
    assert pace.levels[1].seconds is None


def test_data_without_an_order_has_no_recency_beside_it() -> None:
    pace = measure_pace(planted(ordered=False), preset="default", changes=TINY, levels=[], seed=0, on_phase=silent)
    assert [model.model.partition(",")[0] for model in pace.models] == ["HDRM", "EASE", "iALS"]
    assert not pace.ordered


def test_a_level_counts_from_the_first_epoch_that_has_it() -> None:
    recalls = [None, 0.1, 0.3, 0.2, 0.4]
    points = [
        Point(seconds=float(n), stage="diffusion", epoch=n, score=0.0, recall=recall)
        for n, recall in enumerate(recalls)
    ]
    assert [reached(points, recall) for recall in (0.05, 0.3, 0.31, 0.5)] == [1.0, 2.0, 4.0, None]


def test_the_command_prints_tables_and_writes_the_document(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    arguments = ["--interactions", "1e4", "--epochs", "1", "--split", str(data_dir), "--levels", "0.05", *CHANGES]
    done = RUNNER.invoke(app, ["benchmark", "training", *arguments, "--json", str(path)])
    assert done.exit_code == 0, done.output
    document = Document.model_validate_json(path.read_text())
    assert json.loads(path.read_text())["environment"]["threads"] >= 1
    assert document.growth is not None
    (made,) = document.growth.sizes
    assert (made.interactions, made.users, made.items) == (10_000, 200, 251)
    assert (
        min(
            made.prepare_seconds, made.encoder_seconds, made.attention_seconds, made.diffusion_seconds, made.cpu_seconds
        )
        > 0
    )
    assert made.process_bytes > made.memory_bytes >= 0
    assert document.growth.changes == TINY
    assert document.pace is not None
    assert document.pace.data == "planted"
    for expected in ("10,000", "attend", "EASE + recency", "iALS", "threads of torch"):
        assert expected in done.stdout


@pytest.mark.parametrize("text", ["1e3", "1e5,x", "1e10", ",", "nan"])
def test_wrong_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--interactions .*: expected numbers from 10000 to 1e\+09"):
        numbers_of(text, "--interactions", 1e4, 1e9)


def test_sizes_are_sorted_and_counted_once() -> None:
    assert numbers_of("1e6,1e5,100000", "--interactions", 1e4, 1e9) == [1e5, 1e6]


def test_nothing_to_measure_and_a_missing_folder_are_noticed_first(tmp_path: Path) -> None:
    assert RUNNER.invoke(app, ["benchmark", "training"]).exit_code == 2
    arguments = ["benchmark", "training", "--interactions", "1e4", "--json", str(tmp_path / "no" / "x.json")]
    with pytest.raises(ConfigError, match="is not there"):
        RUNNER.invoke(app, arguments, catch_exceptions=False)
