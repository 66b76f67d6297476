"""The benchmark of kills, a short one from start to end."""

import json
from pathlib import Path

from typer.testing import CliRunner

from hdrm.cli import app


def test_whatever_is_killed_all_is_whole_and_the_next_run_succeeds(data_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "kills.json"
    options = ["--data", str(data_dir), "--models", str(tmp_path), "--json", str(out), "--kills", "3"]
    done = CliRunner().invoke(app, ["benchmark", "kills", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document = json.loads(out.read_text())
    assert document["broken"] == []
    assert sum(document["phases"].values()) == document["kills"] == 3
    # the aimed one had begun to write
    assert sum(document["phases"][name] for name in ("writing", "judging", "ending")) >= 1
    assert document["published"] + document["unchanged"] == 3
    assert document["failed"] == 0 < document["answers"]
    assert document["verified"] >= 3
    assert list(tmp_path.iterdir()) == [out]
