import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.baselines.settings import load_settings
from hdrm.benchmark import seeds_of
from hdrm.cli import app
from model.errors import ConfigError

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = np.random.default_rng(0)
    rows = [(user, item) for user in range(30) for item in generator.permutation(25)[:12]]
    train, valid, test = (
        np.array([pair for start in range(0, len(rows), 12) for pair in rows[start + low : start + high]], np.int64)
        for low, high in ((0, 8), (8, 10), (10, 12))
    )
    path = tmp_path_factory.mktemp("split") / "pairs.npz"
    np.savez(path, train=train, valid=valid, test=test)
    return path


def test_accuracy_prints_and_writes_the_same_page(npz: Path, tmp_path: Path) -> None:
    written = tmp_path / "accuracy.json", tmp_path / "accuracy.md"
    arguments = ["--split", str(npz), "--order", "chronological", "--live", "valid:test", "--models", "popularity,ease"]
    options = ["--seeds", "0,1", "--json", str(written[0]), "--markdown", str(written[1])]
    done = RUNNER.invoke(app, ["benchmark", "accuracy", *arguments, *options])
    assert done.exit_code == 0, done.output
    document = json.loads(written[0].read_text())
    assert [(r["model"], r["seed"], r["mode"]) for r in document["results"]] == [
        (model, 0, mode) for model in ("popularity", "ease") for mode in ("paper", "live")
    ]
    page = written[1].read_text()
    assert page in done.stdout
    assert f"{document['results'][0]['metrics']['recall@20']:.4f}" in page


@pytest.mark.parametrize("text", ["", "a", "0,0", "-1", "0;1", "4294967296"])
def test_wrong_seeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected different numbers"):
        seeds_of(text)


def test_a_missing_folder_is_noticed_before_anything_runs(npz: Path, tmp_path: Path) -> None:
    arguments = ["benchmark", "accuracy", "--split", str(npz), "--json", str(tmp_path / "no" / "accuracy.json")]
    with pytest.raises(ConfigError, match="is not there"):
        RUNNER.invoke(app, arguments, catch_exceptions=False)


def test_what_stands_twice_is_counted_once_and_told(tmp_path: Path) -> None:
    rows = np.array([(user, item) for user in range(8) for item in range(user, user + 8)])
    train, test = rows[rows[:, 1] < rows[:, 0] + 7], rows[rows[:, 1] == rows[:, 0] + 7]
    np.savez(tmp_path / "twice.npz", train=np.concatenate((train, train[:5])), test=test)
    arguments = ["--split", str(tmp_path / "twice.npz"), "--models", "popularity,default", "--seeds", "0"]
    done = RUNNER.invoke(app, ["benchmark", "accuracy", *arguments, "--json", str(tmp_path / "a.json")])
    assert done.exit_code == 0, done.output
    assert "5 of 69 rows" in done.stderr
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["data"]["interactions"] == len(train)
    (topology,) = document["topology"]
    assert None in topology["figures"].values()  # 15 items: none shares users with 20 others
    assert not (tmp_path / "a.json.runs").exists()


def test_a_settings_search_prints_a_section_that_can_be_kept(npz: Path) -> None:
    arguments = ["--split", str(npz), "--order", "chronological", "--model", "lightgcn", "--trials", "2"]
    done = RUNNER.invoke(app, ["benchmark", "settings", *arguments])
    assert done.exit_code == 0, done.output
    section = tomllib.loads(done.stdout)["lightgcn"]
    assert section.keys() == load_settings("lightgcn").keys()
    assert "# found by: " in done.stdout
    assert "# 2 tried" in done.stdout


def test_a_settings_search_of_a_model_without_kept_settings_names_those_that_have(npz: Path) -> None:
    with pytest.raises(ConfigError, match="there are: lightgcn, sasrec"):
        RUNNER.invoke(app, ["benchmark", "settings", "--split", str(npz), "--model", "ease"], catch_exceptions=False)


def test_kept_runs_are_not_thrown_away_for_want_of_an_option(npz: Path, tmp_path: Path) -> None:
    kept = tmp_path / "accuracy.json.runs" / "0123456789abcdef.npz"
    kept.parent.mkdir()
    kept.write_bytes(b"hours of work")
    arguments = ["benchmark", "accuracy", "--split", str(npz), "--models", "popularity"]
    with pytest.raises(ConfigError, match="keeps 1 finished runs"):
        RUNNER.invoke(app, [*arguments, "--json", str(tmp_path / "accuracy.json")], catch_exceptions=False)
    assert kept.exists()


def test_a_study_that_is_none_is_refused(npz: Path, tmp_path: Path) -> None:
    (tmp_path / "study").write_text("notes\n")
    arguments = ["benchmark", "settings", "--split", str(npz), "--order", "chronological", "--model", "lightgcn"]
    with pytest.raises(ConfigError, match="not a file of trials"):
        RUNNER.invoke(app, [*arguments, "--study", str(tmp_path / "study")], catch_exceptions=False)


def test_a_benchmark_that_is_ended_leaves_no_folders(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "hdrm", "benchmark", "inference", "--users", "1000", "--items", "1000"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(tmp_path.iterdir()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not any(tmp_path.iterdir())
