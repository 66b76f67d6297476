import sys
import zipfile
from pathlib import Path

import pytest

from model.errors import DataError, UnavailableError
from training.data.catalogue import natural_title
from training.data.datasets import read_dataset, write_dataset
from training.data.importers import ImportOptions, import_dataset
from training.data.movielens import failure_of, fetch_ml_100k, unpack


def test_fetch_gets_titles_years_and_genres(tmp_path: Path) -> None:
    """The real download; the figures are those that GroupLens publishes for MovieLens 100K."""
    write_dataset(fetch_ml_100k().dataset, tmp_path)
    dataset = read_dataset(tmp_path)
    frame = dataset.interactions
    assert (frame.height, frame["user_id"].n_unique(), frame["item_id"].n_unique()) == (100_000, 943, 1_682)
    assert frame.row(0)[:2] == ("196", "242")
    assert frame["timestamp"].dt.epoch("s")[0] == 881250949
    assert "GroupLens" in (dataset.info.terms or "")
    items = {row[0]: row[1:] for row in dataset.items.iter_rows()}
    assert items["1"] == ("Toy Story", 1995, ["Animation", "Children's", "Comedy"])
    assert items["64"][0] == "The Shawshank Redemption"
    assert items["113"][0] == "The Horseman on the Roof (Le Hussard sur le toit)"
    assert dataset.items["year"].count() == 1_680
    assert str(tmp_path) not in dataset.info.model_dump_json()


def test_a_failing_download_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UnavailableError, match="No matching distribution") as caught:
        fetch_ml_100k()
    assert "hdrm data import ml-100k.inter" in (caught.value.hint or "")


def test_another_file_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("recbole/__init__.py", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DataError, match="not the expected file"):
        fetch_ml_100k()


def test_a_missing_python_or_pip_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot run"):
        fetch_ml_100k(python=str(tmp_path / "python"))
    error = failure_of(f"{sys.executable}: No module named pip\n")
    assert isinstance(error, UnavailableError)
    assert "ensurepip" in (error.hint or "")


def test_a_wheel_without_the_data_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as wheel:
        wheel.writestr("other", "")
    with pytest.raises(DataError, match=r"w\.whl does not hold .*ml-100k"):
        unpack(tmp_path / "w.whl", tmp_path)


@pytest.mark.parametrize(
    ("written", "natural"),
    [
        ("Shawshank Redemption, The", "The Shawshank Redemption"),
        ("Bug's Life, A", "A Bug's Life"),
        ("Enfer, L'", "L'Enfer"),
        ("Hate (Haine, La)", "Hate (La Haine)"),
        ("Boot, Das (The Boat)", "Das Boot (The Boat)"),
        ("Good, The Bad and The Ugly, The", "The Good, The Bad and The Ugly"),
        ("Paris, France", "Paris, France"),
        ("Maybe, Maybe Not", "Maybe, Maybe Not"),
        ("Mrs. Brown (Her Majesty, Mrs. Brown)", "Mrs. Brown (Her Majesty, Mrs. Brown)"),
        (", The", ", The"),
    ],
)
def test_trailing_articles_go_in_front(written: str, natural: str) -> None:
    assert natural_title(written) == natural


EXPECTED_ITEMS = [
    ("1", "Toy Story", 1995, ["Animation", "Comedy"]),
    ("2", "The Misérables", 1998, []),
    ("3", "Untitled", None, []),
]


def write_1m(folder: Path) -> None:
    (folder / "ratings.dat").write_text("1::1::5::978300760\n1::2::3::978302109\n")
    movies = "1::Toy Story (1995)::Animation|Comedy\n2::Misérables, The (1998)::(no genres listed)\n"
    movies += "3::Untitled::\n"
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))


def write_25m(folder: Path) -> None:
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,5.0,978300760\n1,2,3.0,978302109\n")
    (folder / "movies.csv").write_text(
        "movieId,title,genres\n1,Toy Story (1995),Animation|Comedy\n"
        '2,"Misérables, The (1998)",(no genres listed)\n'
        "3,Untitled,\n"
    )


def write_100k(folder: Path) -> None:
    (folder / "u.data").write_text("1\t1\t5\t978300760\n1\t2\t3\t978302109\n")
    none = "|".join("0" * 19)
    lines = [
        "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|0|1" + "|0" * 13,
        f"2|Misérables, The (1998)|01-Jan-1998||http://x|{none}",
        f"3|Untitled||||1{none[1:]}",
    ]
    (folder / "u.item").write_bytes("\n".join(lines).encode("latin-1"))


@pytest.mark.parametrize("write", [write_1m, write_25m, write_100k])
def test_movielens_folders(write: object, tmp_path: Path) -> None:
    assert callable(write)
    write(tmp_path)
    imported = import_dataset(tmp_path)
    dataset = imported.dataset
    assert dataset.interactions["rating"].to_list() == [5, 3]
    assert dataset.interactions["timestamp"].dt.epoch("s").to_list() == [978300760, 978302109]
    assert dataset.items.rows() == EXPECTED_ITEMS
    assert (dataset.info.name, dataset.info.source) == (tmp_path.name, tmp_path.name)
    assert "GroupLens" in (dataset.info.terms or "")


def test_bad_lines_of_ratings_dat(tmp_path: Path) -> None:
    (tmp_path / "ratings.dat").write_text("1::1::5::978300760\n1::2\n::2::3::4\n1::2::3::4::5\n")
    imported = import_dataset(tmp_path / "ratings.dat", ImportOptions(max_bad=1))
    assert imported.dataset.interactions.height == 1
    assert imported.rows.shown == (
        "line 2: unparsable time",
        "line 3: missing user id",
        "line 4: too many fields",
    )
