import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from typer.testing import CliRunner

from hdrm.data import Format, RowOrder, app, fraction
from model.errors import ConfigError, DataError
from training.data.datasets import read_dataset
from training.data.formats import FORMATS, FileFormat
from training.data.importers import ImportOptions

CSV = "who,item,ts,stars\nu,x,2020-01-01,5\nu,y,2020-01-02,1\nv,x,2020-01-03,4\n"


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a command in this process; what it raises is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "plays.csv"
    path.write_text(CSV)
    return path


def test_import_says_what_it_read_and_wrote(csv: Path, tmp_path: Path) -> None:
    status, out, err = run("import", csv, "--out", tmp_path / "out", "--user-col", "who", "--min-rating", 2)
    assert status == 0
    assert "2 interactions of 2 users with 1 items" in out
    assert "user = who, item = item, time = ts, rating = stars" in err
    assert "1 rows rated below 2 left out" in err
    assert read_dataset(tmp_path / "out").info.name == "plays"


def test_too_many_bad_rows_write_nothing(csv: Path, tmp_path: Path) -> None:
    csv.write_text(CSV + ",x,2020-01-04,3\n")
    arguments = ("import", csv, "--out", tmp_path / "out", "--user-col", "who")
    with pytest.raises(DataError, match="line 5: missing user id"):
        run(*arguments)
    assert not (tmp_path / "out").exists()
    _, _, err = run(*arguments, "--max-bad", "25%")
    assert "line 5: missing user id" in err
    assert read_dataset(tmp_path / "out").interactions.height == 3


def test_importing_again_and_over_another_data_set(csv: Path, tmp_path: Path) -> None:
    arguments = ("import", csv, "--out", tmp_path / "out", "--user-col", "who")
    run(*arguments)
    assert "nothing written" in run(*arguments)[2]
    with pytest.raises(DataError, match="already holds another data set"):
        run(*arguments, "--name", "other")
    run(*arguments, "--name", "other", "--force")
    assert read_dataset(tmp_path / "out").info.name == "other"


def test_a_pre_split_file_keeps_its_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", train=[[0, 1], [0, 2]], valid=[[0, 3]], test=[[1, 1]])
    _, out, _ = run("import", tmp_path / "p.npz", "--out", tmp_path / "a")
    assert "train 2, valid 1, test 1" in out
    assert "order: none" in out
    _, out, _ = run("import", tmp_path / "p.npz", "--out", tmp_path / "b", "--order", "chronological")
    assert "order: row" in out
    assert "valid 1" in run("describe", tmp_path / "b")[1]


def test_describe_prints_figures_on_stdout_only(csv: Path, tmp_path: Path) -> None:
    run("import", csv, "--out", tmp_path / "out", "--user-col", "who", "--terms", "ask [first]")
    status, out, err = run("describe", tmp_path / "out")
    assert (status, err) == (0, "")
    for figure in (
        "75.0000%",
        "2020-01-01 00:00 to 2020-01-03 00:00 UTC",
        "median 1.5",
        "Gini",
        "ask [first]",
    ):
        assert figure in out
    summary = json.loads(run("describe", tmp_path / "out", "--json")[1])
    assert (summary["users"], summary["items"], summary["interactions"]) == (2, 2, 3)
    assert summary["last"] == "2020-01-03T00:00:00Z"


def test_fetch_leaves_other_data_alone_before_downloading(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    run("import", csv, "--out", tmp_path / "out", "--user-col", "who")
    with pytest.raises(DataError, match="already holds something other than ml-100k") as caught:
        run("fetch", "ml-100k", "--out", tmp_path / "out")
    assert "--force" in (caught.value.hint or "")


def test_fetch_prints_the_terms_and_is_done_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, err = run("fetch", "ml-100k", "--out", tmp_path)
    assert "100,000 interactions of 943 users with 1,682 items" in out
    assert "GroupLens" in err
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # a second download would fail
    _, _, err = run("fetch", "ml-100k", "--out", tmp_path)
    assert "nothing to do" in err


@pytest.mark.parametrize(("text", "value"), [("0.001", 0.001), ("0.1%", 0.001), ("0", 0), ("100%", 1)])
def test_shares(text: str, value: float) -> None:
    assert fraction(text, "--max-bad") == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "x", "-1%", "2", "101%", "nan", "1%%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--max-bad"):
        fraction(text, "--max-bad")


def test_the_command_line_offers_what_training_reads() -> None:
    assert [form.value for form in Format] == list(FORMATS) == list(get_args(FileFormat))
    order = ImportOptions.model_fields["order"].annotation
    assert [choice.value for choice in RowOrder] == list(get_args(order))


def test_help_needs_no_dataframe_library() -> None:
    check = (
        "import sys; from typer.testing import CliRunner; from hdrm.data import app; "
        "CliRunner().invoke(app, ['import', '--help'], catch_exceptions=False); "
        "sys.exit('polars' in sys.modules or 'training' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_missing_file_ends_with_status_1_and_one_message(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hdrm", "data", "import", "nothing.csv", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "error: nothing.csv does not exist"
