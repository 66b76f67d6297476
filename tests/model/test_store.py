import shutil
from pathlib import Path

import pytest

from model.errors import ArtifactError
from model.store import ModelStore
from tests.model.test_artifact import publish


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    for store in (ModelStore(tmp_path), ModelStore(tmp_path / "missing")):
        assert store.versions() == []
        assert store.current() is None
        with pytest.raises(ArtifactError, match="no model has been published") as caught:
            store.path()
        assert "hdrm train" in str(caught.value.hint)


def test_publishing_makes_a_version_current_and_leaves_nothing_behind(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = publish(tmp_path, seed=0).version, publish(tmp_path, seed=1).version
    assert store.versions() == sorted([first, second])
    assert store.current() == second
    assert store.path() == tmp_path / second
    assert store.path(first) == tmp_path / first
    assert list((tmp_path / ".staging").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([".staging", "current", first, second])


def test_activation_moves_the_pointer_back_and_refuses_what_is_not_there(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = publish(tmp_path, seed=0).version, publish(tmp_path, seed=1).version
    store.activate(first)
    assert store.current() == first
    with pytest.raises(ArtifactError, match=f"no model version 'nope'; there are: .*{second}"):
        store.activate("nope")
    assert store.current() == first


@pytest.mark.parametrize("version", ["../elsewhere", "", ".staging", "."])
def test_a_version_is_no_path(tmp_path: Path, version: str) -> None:
    publish(tmp_path / "store")
    shutil.copytree(ModelStore(tmp_path / "store").path(), tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="no model"):
        ModelStore(tmp_path / "store").path(version)


def test_an_unfinished_artifact_is_never_visible(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)

    def fail() -> None:
        with store.staging() as staged:
            (staged / "manifest.json").write_text("{}")
            assert store.versions() == []
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert store.versions() == []
    assert list((tmp_path / ".staging").iterdir()) == []


def test_publishing_the_same_content_again_keeps_what_is_there(tmp_path: Path) -> None:
    first = publish(tmp_path, created_at="2025-01-01T00:00:00+00:00")
    again = publish(tmp_path, created_at="2026-01-01T00:00:00+00:00")
    assert again == first


def test_publishing_over_a_damaged_version_mends_it(tmp_path: Path) -> None:
    version = publish(tmp_path).version
    (tmp_path / version / "probe.json").write_bytes(b"{}")
    assert publish(tmp_path).version == version
    assert ModelStore(tmp_path).path(version).joinpath("probe.json").read_bytes() != b"{}"


def test_an_incomplete_directory_cannot_be_published(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with store.staging() as staged, pytest.raises(ArtifactError, match="manifest"):
        store.publish(staged)
    assert store.current() is None


def test_another_account_can_read_what_was_published(tmp_path: Path) -> None:
    directory = tmp_path / publish(tmp_path).version
    assert directory.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in [*directory.iterdir(), tmp_path / "current"]} == {0o644}


def test_an_unreadable_pointer_is_named(tmp_path: Path) -> None:
    (tmp_path / "current").write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match=r"current: cannot be read \(UnicodeDecodeError\)"):
        ModelStore(tmp_path).current()
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("current")
    with pytest.raises(ArtifactError, match="current: cannot be read"):
        ModelStore(tmp_path).current()
