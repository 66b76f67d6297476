import json
import os
import shutil
from pathlib import Path

import pytest

from model.errors import ArtifactError, ConfigError, UnavailableError
from model.manifest import MANIFEST
from model.report import Outcome, RunReport, keep_report, read_reports, refused_versions
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
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted([".lock", ".staging", "activations.json", "current", first, second])


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


def test_rolling_back_goes_one_version_back_at_a_time(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    with pytest.raises(ArtifactError, match="no version before"):
        store.rollback()
    first, second, third = (publish(tmp_path, seed=seed).version for seed in range(3))
    assert store.previous() == [second, first]
    assert [store.rollback(), store.rollback()] == [second, first]
    assert store.current() == first
    with pytest.raises(ArtifactError, match="no version before"):
        store.rollback()
    store.activate(third)
    assert store.rollback() == first
    store.activate(third)
    store.activate(third)  # which is no change
    assert store.rollback() == first


def test_going_back_to_an_older_version_can_be_taken_back(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = (publish(tmp_path, seed=seed).version for seed in range(2))
    store.activate(first)
    assert store.rollback() == second
    assert store.rollback() == first
    with pytest.raises(ArtifactError, match="no version before"):
        store.rollback()


def test_the_way_back_does_not_depend_on_what_was_not_finished(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second, third = (publish(tmp_path, seed=seed).version for seed in range(3))
    (tmp_path / "current").write_text(second)  # the history ends with the third, as if that had been killed
    assert store.previous() == [first]
    (tmp_path / "activations.json").write_text("{")
    assert store.previous() == []
    store.activate(third)
    assert store.rollback() == second


def test_versions_that_are_gone_are_not_rolled_back_to(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second, _ = (publish(tmp_path, seed=seed).version for seed in range(3))
    shutil.rmtree(tmp_path / second)
    assert store.rollback() == first


def test_a_canary_is_a_published_version_with_a_share(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = (publish(tmp_path, seed=seed).version for seed in range(2))
    assert store.canary() is None
    assert store.set_canary(first, 0.1) == store.canary()
    for version, share, error in (
        (first, 0.0, ConfigError),
        (first, 1.0, ConfigError),
        (second, 0.5, ConfigError),
        ("nope", 0.5, ArtifactError),
    ):
        with pytest.raises(error):
            store.set_canary(version, share)
    (tmp_path / "canary.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"canary\.json"):
        store.canary()
    store.drop_canary()
    assert store.canary() is None


def test_pruning_keeps_what_may_be_served_again(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    made = [publish(tmp_path, seed=seed, created_at=f"2026-01-0{seed + 1}T00:00:00+00:00").version for seed in range(6)]
    store.activate(made[0])
    store.set_canary(made[1], 0.5)
    assert set(store.prune(1)) == {made[2], made[3], made[4]}
    assert set(store.versions()) == {made[0], made[1], made[5]}
    assert list((tmp_path / ".staging").iterdir()) == []
    with pytest.raises(ConfigError, match="at least 1"):
        store.prune(0)


def test_what_a_killed_process_left_behind_is_cleared_once_it_is_old(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    publish(tmp_path)
    old, fresh = tmp_path / ".staging" / "old", tmp_path / ".staging" / "fresh"
    for path in (old, fresh):
        path.mkdir()
    os.utime(old, (0, 0))
    store.prepare()
    assert (old.exists(), fresh.exists()) == (False, True)


def test_a_pointer_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = (publish(tmp_path, seed=seed).version for seed in range(2))
    (tmp_path / ".staging").rmdir()
    (tmp_path / ".staging").touch()  # stands for a disk that is full, which root would not notice otherwise
    with pytest.raises(UnavailableError, match="cannot be written"):
        store.activate(first)
    assert store.current() == second


def test_activating_a_canary_ends_the_trial(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = (publish(tmp_path, seed=seed).version for seed in range(2))
    store.set_canary(first, 0.5)
    store.activate(first)
    store.activate(second)
    assert store.canary() is None


def test_a_canary_that_was_gone_back_to_is_none_any_more(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second = (publish(tmp_path, seed=seed).version for seed in range(2))
    store.set_canary(first, 0.1)
    assert store.rollback() == first
    store.activate(second)
    assert store.canary() is None


def test_a_model_succeeds_the_one_that_it_was_compared_with_alone(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second, third = (publish(tmp_path, seed=seed).version for seed in range(3))
    store.activate(second)
    assert not store.succeed(third, first)
    assert not store.succeed(None, first)
    assert store.current() == second
    assert store.succeed(second, first)
    assert store.current() == first


def test_models_of_another_schema_are_pruned_in_their_turn(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    made = [publish(tmp_path, seed=seed, created_at=f"2026-01-0{seed + 1}T00:00:00+00:00").version for seed in range(5)]
    for version in (made[0], made[2]):
        manifest = tmp_path / version / MANIFEST
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 1}))
    (tmp_path / made[1] / MANIFEST).write_text("{")  # damaged, for people to look at
    assert store.prune(3) == [made[0]]


def test_a_rollback_passes_over_what_is_damaged(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    first, second, _ = (publish(tmp_path, seed=seed).version for seed in range(3))
    (tmp_path / second / "probe.json").write_bytes(b"{}")
    assert store.rollback() == first


def test_refused_versions_take_nobodys_place_when_pruned(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    made = [publish(tmp_path, seed=seed, created_at=f"2026-01-0{seed + 1}T00:00:00+00:00").version for seed in range(6)]
    store.activate(made[2])
    # the last one refused stays, and what was current before
    assert store.prune(3, refused=made[3:]) == [made[4]]
    (tmp_path / "canary.json").write_text("{}")  # which keeps nothing from being pruned
    assert store.prune(3, refused=made[3:]) == []


def test_reports_of_what_is_in_the_store_are_never_forgotten(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    version = publish(tmp_path).version

    def report(number: int, outcome: Outcome, candidate: str | None) -> RunReport:
        return RunReport(
            run_id=f"{number:06}",
            started_at="2026-01-01T00:00:00+00:00",
            read_at=0.0,
            seconds=1.0,
            outcome=outcome,
            candidate=candidate,
            events=0,
        )

    keep_report(store, report(0, "refused", version))
    keep_report(store, report(1, "refused", "gone"))
    for number in range(2, 110):
        keep_report(store, report(number, "unchanged", None))
    assert refused_versions(store) == [version]
    assert len(read_reports(store)) == 101
    keep_report(store, report(200, "published", version))  # trained again, and good enough
    assert refused_versions(store) == []
