"""`hdrm recommend` and `hdrm openapi`, as processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.keys import KeyFile
from tests.service.conftest import DEADLINE, ServeProcess, publish_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_model(tmp_path_factory.mktemp("recommend") / "models").root


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hdrm", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def test_a_list_without_a_server(models: Path) -> None:
    ran = run("recommend", "--user", "100", "--models", str(models), "--k", "4", "--explain")
    assert ran.returncode == 0, ran.stderr
    assert "user 100: by the model" in ran.stdout
    assert ran.stdout.count("Film «") >= 4
    cold = run("recommend", "--user", "nobody", "--models", str(models), "--k", "3", "--category", "Short")
    assert "the most popular, for want of a history" in cold.stdout
    told = run("recommend", "--history", "i1003", "--history", "i1009", "--models", str(models), "--json")
    assert len(json.loads(told.stdout)["items"]) == 10


def test_a_list_of_a_server_is_the_same(models: Path, tmp_path: Path) -> None:
    here = json.loads(run("recommend", "--user", "100", "--models", str(models), "--json").stdout)
    keys = tmp_path / "keys.json"
    token = KeyFile(keys).create("terminal", ("read",), None)[0]
    server = ServeProcess(models, HDRM_KEYS_FILE=str(keys))
    try:
        there = json.loads(run("recommend", "--user", "100", "--url", server.url, "--json", HDRM_KEY=token).stdout)
        assert there["items"] == here["items"]
        refused = run("recommend", "--user", "100", "--url", server.url)
        assert (refused.returncode, "next: give a key" in refused.stderr) == (1, True)
    finally:
        server.end()
    away = run("recommend", "--user", "100", "--url", server.url)
    assert (away.returncode, "next: start a server" in away.stderr) == (1, True)


def test_what_is_wrong_is_said_in_the_words_of_the_command_line(models: Path) -> None:
    nobody = run("recommend", "--models", str(models))
    assert (nobody.returncode, "--user or --history" in nobody.stderr) == (1, True)
    many = run("recommend", "--user", "100", "--k", "501", "--models", str(models))
    assert "--k: Input should be less than or equal to 500 (whole numbers, 1 to 500)" in many.stderr
    none = run("recommend", "--user", "100", "--models", str(models / "none"))
    assert (none.returncode, "hdrm train" in none.stderr) == (1, True)


def test_the_description_goes_to_a_file(tmp_path: Path) -> None:
    ran = run("openapi", "--out", str(tmp_path / "openapi.json"))
    assert ran.returncode == 0
    assert json.loads((tmp_path / "openapi.json").read_text())["openapi"] == "3.1.0"
    assert run("openapi", "--out", str(tmp_path / "none" / "openapi.json")).returncode == 1
