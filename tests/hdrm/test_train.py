"""`hdrm train` and `hdrm models`, as a script calls them."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model.artifact import load_artifact
from service.events.record import deletion_of
from service.events.sqlite import SqliteLog
from tests.conftest import QUICK

CHANGES = [argument for change in QUICK for argument in ("--set", change)]


def hdrm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hdrm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    path = tmp_path_factory.mktemp("cli") / "models"
    done = hdrm("train", "--data", data_dir, "--models", path, *CHANGES)
    assert done.returncode == 0, done.stderr
    for expected in ("recall@20", "recall@10", "ndcg@20", "ndcg@10", "popularity", "EASE", "HDRM", "model version:"):
        assert expected in done.stdout
    assert "valid" not in done.stdout.partition("model version")[2]
    assert "score" in done.stderr  # progress
    return path


def current(models: Path) -> Path:
    return models / (models / "current").read_text().strip()


def test_deleted_users_are_left_out_of_the_next_training(models: Path, data_dir: Path, tmp_path: Path) -> None:
    """Whom the service of the store was told to forget."""
    store = tmp_path / "models"
    store.mkdir()

    known = deletion_of("u4", timestamp=0.0)  # what came after is not what was deleted

    async def forget() -> None:
        log = SqliteLog(store / "events.sqlite")
        await log.delete_user(deletion_of("u3", timestamp=1e9))
        await log.delete_user(known)
        await log.close()

    asyncio.run(forget())
    done = hdrm("train", "--data", data_dir, "--models", store, *CHANGES)
    assert done.returncode == 0, done.stderr
    assert "leaving out 1 users who were deleted" in done.stderr
    artifact = load_artifact(current(store))
    assert artifact.manifest.data.deletions == [known.deletion_id]
    users = artifact.catalogue.users.ids()
    everybody = load_artifact(current(models)).catalogue.users.ids()
    assert set(everybody) - set(users) == {"u3"}


def test_the_store_can_be_listed_shown_and_verified(models: Path) -> None:
    version = current(models).name
    listed = json.loads(hdrm("models", "list", "--models", models, "--json").stdout)
    assert listed["current"] == version
    assert [row["version"] for row in listed["models"]] == [version]
    shown = json.loads(hdrm("models", "show", "--models", models, "--json").stdout)
    assert shown["version"] == version
    assert shown["training"]["encoder"]["dim"] == 8
    assert json.loads(hdrm("models", "verify", "--models", models, "--json").stdout) == {
        "ok": True,
        "problems": {version: []},
    }
    for command in (["list"], ["show"], ["verify", "--all"]):
        done = hdrm("models", *command, "--models", models)
        assert done.returncode == 0
        assert version in done.stdout


def test_a_damaged_file_is_named_and_the_exit_status_tells(models: Path) -> None:
    path = current(models) / "probe.json"
    content = path.read_bytes()
    try:
        path.write_bytes(content.replace(b"1", b"2", 1))
        done = hdrm("models", "verify", "--models", models)
        as_json = hdrm("models", "verify", "--models", models, "--json")
        served = hdrm("serve", "--models", models, "--port", "0")
    finally:
        path.write_bytes(content)
    assert (done.returncode, as_json.returncode, served.returncode) == (1, 1, 1)
    assert "probe.json" in done.stderr
    assert "probe.json" in json.dumps(json.loads(as_json.stdout)["problems"])
    assert "probe.json" in served.stderr
    assert "next:" in done.stderr


def test_a_damaged_manifest_is_listed_as_such(models: Path) -> None:
    path = current(models) / "manifest.json"
    content = path.read_bytes()
    try:
        path.write_bytes(content.replace(b"planted", b"plantet", 1))
        done = hdrm("models", "list", "--models", models)
    finally:
        path.write_bytes(content)
    assert "manifest.json" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere", "--models", "m"], "nowhere"),
        (["--data", "DATA", "--models", "m", "--set", "encoder.size=1"], "no 'size' here"),
        (["--data", "DATA", "--models", "m", "--preset", "best"], "there are: default"),
        (["--data", "DATA", "--models", "m", "--set", "steps=51"], "steps (51) must be at most noise.timesteps (50)"),
        (["--data", "DATA", "--models", "m", "--set", "noise.alpha_bar_first=0.01"], "greater than alpha_bar_last"),
        (["--data", "DATA", "--models", "m", "--set", "encoder.dim=2024-01-01"], "encoder.dim"),
        (["--data", "DATA", "--models", "/dev/null"], "/dev/null: models cannot be written there"),
    ],
)
def test_a_mistake_is_one_message_with_exit_status_1(data_dir: Path, arguments: list[str], message: str) -> None:
    done = hdrm("train", *(str(data_dir) if argument == "DATA" else argument for argument in arguments))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_missing_option_has_exit_status_2() -> None:
    done = hdrm("train", "--data", "x")
    assert done.returncode == 2
    assert "--models" in done.stderr


def test_models_of_an_empty_store_point_to_training(tmp_path: Path) -> None:
    assert "hdrm train" in hdrm("models", "list", "--models", tmp_path).stderr
    shown = hdrm("models", "show", "--models", tmp_path)
    assert shown.returncode == 1
    assert "hdrm train" in shown.stderr


def test_an_empty_store_is_not_verified(tmp_path: Path) -> None:
    for options in ([], ["--all"]):
        done = hdrm("models", "verify", "--models", tmp_path / "none", *options)
        assert done.returncode == 1
        assert "no model has been published" in done.stderr


def test_names_are_printed_as_they_are_whatever_they_look_like(data_dir: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(data_dir, tmp_path / "data [red]"))
    info = json.loads((data / "dataset.json").read_text())
    (data / "dataset.json").write_text(json.dumps(info | {"name": "[/b] plays", "source": "[/x].csv"}))
    store = tmp_path / "[/b] models [red]"
    listed = hdrm("models", "list", "--models", store)
    assert str(store) in listed.stderr
    trained = hdrm("train", "--data", data, "--models", store, *CHANGES)
    assert f"next: hdrm serve --models {store}" in trained.stderr
    assert "[/b] plays" in trained.stdout
    for done in (hdrm("data", "describe", data), hdrm("models", "show", "--models", store)):
        assert done.returncode == 0, done.stderr
        assert "[/b] plays" in done.stdout


def test_settings_are_printed_with_their_meaning() -> None:
    done = hdrm("train", "--settings", "--set", "encoder.dim=77")
    assert done.returncode == 0
    assert "encoder.dim" in done.stdout
    assert "77" in done.stdout


def test_resume_with_nothing_to_resume_starts(models: Path, data_dir: Path, tmp_path: Path) -> None:
    done = hdrm("train", "--data", data_dir, "--models", tmp_path, "--resume", *CHANGES)
    assert done.returncode == 0
    # same data, settings and seed: the same model
    assert current(tmp_path).name == current(models).name


def test_every_command_has_help_with_an_example() -> None:
    for command in (
        ["demo"],
        ["train"],
        ["tune"],
        ["report"],
        ["serve"],
        ["data", "fetch"],
        ["data", "import"],
        ["models", "verify"],
    ):
        done = hdrm(*command, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout, command
