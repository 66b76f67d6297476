"""`hdrm tune`, as a person calls it: killed, called again, and its preset trained with."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.hdrm.test_train import hdrm
from tests.training.test_tuning import TINY
from training.config import load_config

CHANGES = [argument for change in TINY for argument in ("--set", change)]


def trials(study: Path) -> list[str]:
    """States of all trials, in order; none while the file is being made."""
    if not study.exists():
        return []
    connection = sqlite3.connect(study)
    try:
        rows = connection.execute("SELECT state FROM trials ORDER BY trial_id").fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        connection.close()
    return [state for (state,) in rows]


def test_a_killed_study_goes_on_and_its_preset_can_be_used(data_dir: Path, tmp_path: Path) -> None:
    study, preset = tmp_path / "deep" / "study [1].db", tmp_path / "presets" / "tuned.toml"
    arguments = ["tune", "--data", str(data_dir), "--study", str(study), "--vary", "encoder_fit.tau", *CHANGES]
    with subprocess.Popen([sys.executable, "-m", "hdrm", *arguments, "--trials", "1000"]) as process:
        try:
            while process.poll() is None and trials(study)[:2] != ["COMPLETE", "RUNNING"]:
                time.sleep(0.02)
        finally:
            process.kill()
    done_before = len(trials(study)) - 1
    assert trials(study)[-1] == "RUNNING"

    arguments += ["--trials", str(done_before + 1), "--out", str(preset)]
    done = hdrm(*arguments)
    assert done.returncode == 0, done.stderr
    assert trials(study)[-2:] == ["FAIL", "COMPLETE"]
    assert "encoder_fit.tau" in done.stdout
    assert "1 failed" in done.stdout
    assert "best score" in done.stderr  # progress
    head = preset.read_text("utf-8").splitlines()
    assert head[0].startswith("# Found by: hdrm tune --data ")
    assert f"--trials {done_before + 1} --out {preset}" in head[0]
    assert head[1].startswith(f"# {done_before + 2} trials: ")
    assert load_config(str(preset)).encoder.dim == 8

    settings = hdrm("train", "--settings", "--preset", preset)
    assert settings.returncode == 0, settings.stderr
    assert "tuned.toml" in "".join(settings.stdout.split())  # a long path is wrapped


def test_what_can_be_varied_is_printed() -> None:
    done = hdrm("tune", "--space")
    assert done.returncode == 0
    assert "diffusion_fit.items_learning_rate" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--vary", "encoder.size"], 1, "there are: encoder.dim"),
        (["--out", "best.json"], 1, "expected a name that ends in .toml"),
        ([], 2, "--study"),
        (["--study", "s.db"], 2, "--data or --split"),
    ],
)
def test_a_mistake_is_noticed_before_anything_is_trained(arguments: list[str], status: int, message: str) -> None:
    done = hdrm("tune", *arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
