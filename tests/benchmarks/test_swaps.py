"""The benchmark of swaps: what counts as stale, and a short one from start to end."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.swaps.asking import MIXED, Question, Seen, asking
from benchmarks.swaps.measure import Swap, count_stale
from hdrm.cli import app
from model.errors import ConfigError
from tests.service.conftest import ServeProcess, eventually, publish_model


def seen(*requests: tuple[float, float, int, int]) -> Seen:
    """Of (started, ended, connection, outcome)."""
    started, ended, connection, outcome = zip(*requests, strict=True)
    return Seen(np.array(started), np.array(ended), np.array(connection), np.array(outcome), 0.0)


def test_an_old_answer_is_stale_if_it_was_begun_after_a_new_one_had_come() -> None:
    found = seen((1.5, 2.1, 0, 1), (2.0, 2.2, 1, 0), (2.15, 2.3, 1, 0), (2.25, 2.4, 0, 0), (4.5, 4.7, 0, 0))
    swaps = [Swap(wanted=1, activated=1.0, complete=3.0), Swap(wanted=0, activated=4.0, complete=5.0)]
    assert count_stale(found, swaps, workers=1) == 2
    # with several workers one of them may be later than the other, but not its own connection
    assert count_stale(found, swaps, workers=2) == 1


def test_an_answer_with_other_items_than_the_version_has_is_mixed(tmp_path: Path) -> None:
    server = ServeProcess(publish_model(tmp_path / "models").root)
    try:
        question = Question(b'{"user_id": "100"}', (b'{"items":[]}', b'{"items":[1]}'))
        with asking(server.url, [question] * 3, 2, tmp_path / "seen.npz") as client:
            eventually(lambda: client.requests > 5)
            outcomes = set(client.end().outcome.tolist())
    finally:
        assert server.end() == 0
    assert outcomes == {MIXED}


def test_no_request_fails_and_every_answer_is_of_one_model(tmp_path: Path) -> None:
    store, out = publish_model(tmp_path / "models"), tmp_path / "swaps.json"
    options = ["--models", str(store.root), "--json", str(out), "--swaps", "3", "--pause", "0.2", "--connections", "4"]
    done = CliRunner().invoke(app, ["benchmark", "swaps", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document = json.loads(out.read_text())
    assert document["model_version"] == store.current() != document["other_version"]
    assert [run["cache"] for run in document["runs"]] == ["none", "process"]
    for run in document["runs"]:
        assert run["requests"] == run["during"]["requests"] + run["between"]["requests"] > 0
        assert (run["failed"], run["mixed"], run["stale"]) == (0, 0, 0)
        assert min(run["rss_before"], run["rss_after"], run["p99_ratio"], run["client_microseconds"]) > 0


def test_more_connections_than_users_are_refused(tmp_path: Path) -> None:
    store = publish_model(tmp_path / "models", users=8)
    with pytest.raises(ConfigError, match="too few for 16 connections"):
        CliRunner().invoke(app, ["benchmark", "swaps", "--models", str(store.root)], catch_exceptions=False)
