"""The benchmark of events, a short one from start to end."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.events.placement import measure_placement
from hdrm.cli import app
from model.artifact import load_artifact
from model.errors import ConfigError
from tests.conftest import QUICK, planted
from tests.service.conftest import publish_model
from training.data.datasets import write_dataset

SHORT = ["--effects", "3", "--seconds", "1", "--kills", "1"]


def run(*arguments: str | Path) -> None:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.wrk
def test_what_is_told_over_http_is_as_good_as_what_is_known_offline(tmp_path: Path) -> None:
    data, models, out = tmp_path / "data", tmp_path / "models", tmp_path / "events.json"
    write_dataset(planted(presplit=True), data)
    run("train", "--data", data, "--models", models, *(f"--set={setting}" for setting in QUICK))
    run("benchmark", "events", "--models", models, "--split", data, "--live", "valid:test", "--json", out, *SHORT)
    document = json.loads(out.read_text())
    replay = document["replay"]
    assert (replay["history"], replay["truth"]) == ("valid", "test")
    assert min(replay["events"], replay["users"]) > 0
    assert replay["served"] == replay["anonymous"] == pytest.approx(replay["offline"])
    for log, effects, stream, kills in zip(
        ("sqlite", "redis"), document["effects"], document["streams"], document["kills"], strict=True
    ):
        assert effects == {"log": log, "workers": 2, "events": 3, "effective": 3}
        assert stream["log"] == kills["log"] == log
        assert stream["lost"] == stream["recommendation_errors"] == 0
        assert min(stream["acknowledged"], stream["events_per_second"], kills["acknowledged"]) > 0
        assert kills["lost"] == kills["twice"] == 0


@pytest.mark.wrk
def test_another_model_than_that_of_the_data_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_dataset(planted(presplit=True), data)
    models = publish_model(tmp_path / "models").root
    with pytest.raises(ConfigError, match="was not trained on the training part of this data"):
        run("benchmark", "events", "--models", models, "--split", data, *SHORT)


def test_a_place_that_is_served_is_special_and_a_shrunk_mean_is_everybodys(tmp_path: Path) -> None:
    artifact = load_artifact(publish_model(tmp_path, users=1500, items=400).path())
    found = measure_placement(artifact, lambda name, done, total: None)
    assert [(p.takers, p.way) for p in found if p.takers in (0, 5)] == [
        (0, "as trained"),
        (5, "as served"),
        (5, "shrunk by n/(n + 5)"),
        (5, "tangent mean"),
    ]
    by = {(p.takers, p.way): p for p in found}
    assert all(0 <= p.later <= 1 and 0 <= p.everybody <= 1 and p.items == found[0].items > 0 for p in found)
    for takers in (5, 10, 20):
        assert by[takers, "as served"].everybody < by[takers, "shrunk by n/(n + 5)"].everybody


def test_a_model_whose_items_few_took_places_none(tmp_path: Path) -> None:
    artifact = load_artifact(publish_model(tmp_path).path())
    assert measure_placement(artifact, lambda name, done, total: None) == []
