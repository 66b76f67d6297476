"""A model store in object storage: a real server that speaks S3's protocol."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from model import bucket
from model.artifact import load_artifact, verify_artifact
from model.errors import ArtifactError, UnavailableError
from model.report import RunReport, keep_report, read_reports, refused_versions, report_of
from model.store import ModelStore
from tests.model.test_artifact import publish


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def url(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Of an empty folder in a new bucket."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL": server,
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = request.node.name.replace("_", "-").replace("[", "-").rstrip("]")[:60]
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/models"


def test_what_one_machine_publishes_another_serves(url: str, tmp_path: Path) -> None:
    here, there = ModelStore(url, tmp_path / "here"), ModelStore(url, tmp_path / "there")
    assert there.versions() == []
    assert there.current() is None
    with pytest.raises(ArtifactError, match="no model has been published"):
        there.path()
    first, second = publish(here, seed=0).version, publish(here, seed=1).version
    assert there.versions() == sorted([first, second])
    assert there.current() == second
    assert there.manifest(first).version == first
    assert load_artifact(there.path()).manifest.version == second
    assert there.path() == tmp_path / "there" / second
    assert list((tmp_path / "there" / ".staging").iterdir()) == []
    assert list((tmp_path / "here" / ".staging").iterdir()) == []
    assert there.rollback() == first
    assert here.current() == first
    here.set_canary(second, 0.25)
    canary = there.canary()
    assert canary is not None
    assert (canary.version, canary.share) == (second, 0.25)
    there.drop_canary()
    there.drop_canary()
    assert here.canary() is None


def test_a_copy_that_was_damaged_is_fetched_again(url: str, tmp_path: Path) -> None:
    store = ModelStore(url, tmp_path)
    version = publish(store).version
    path = store.path()
    (path / "probe.json").write_bytes(b"{}")
    assert verify_artifact(store.path(version)) == []


def test_what_is_damaged_over_there_is_refused(url: str, tmp_path: Path) -> None:
    store = ModelStore(url, tmp_path)
    version = publish(store).version
    fsspec.filesystem("s3").pipe_file(f"{url}/{version}/probe.json", b"{}")
    with pytest.raises(ArtifactError, match=r"damaged:\n.*probe.json"):
        store.path()
    assert not (tmp_path / version).exists()
    assert publish(store).version == version
    assert verify_artifact(store.path()) == []


def test_an_upload_that_was_cut_short_is_no_version(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(url, tmp_path)
    whole = publish(tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere" / whole.version).iterdir():
        if path.name != "manifest.json":
            fsspec.filesystem("s3").put_file(str(path), f"{url}/half/{path.name}")
    assert store.versions() == []
    with pytest.raises(ArtifactError, match="no model version 'half'"):
        store.activate("half")
    whole_here = publish(store).version
    assert store.prune(1) == []
    assert fsspec.filesystem("s3").exists(f"{url}/half/probe.json")  # it may be under way
    monkeypatch.setattr(bucket, "ABANDONED_SECONDS", -60.0)
    assert store.prune(1) == []
    assert fsspec.filesystem("s3").find(f"{url}/half") == []
    assert store.versions() == [whole_here]


def test_pruning_leaves_the_newest_the_current_and_the_one_before(url: str, tmp_path: Path) -> None:
    store = ModelStore(url, tmp_path)
    made = [publish(store, seed=seed, created_at=f"2026-01-0{seed + 1}T00:00:00+00:00").version for seed in range(5)]
    store.activate(made[0])
    assert set(store.prune(2)) == {made[1], made[2]}
    assert store.versions() == sorted([made[0], made[3], made[4]])
    assert fsspec.filesystem("s3").find(f"{url}/{made[1]}") == []
    assert store.rollback() == made[4]


def test_reports_are_kept_beside_the_models(url: str, tmp_path: Path) -> None:
    here, there = ModelStore(url, tmp_path / "here"), ModelStore(url, tmp_path / "there")
    assert read_reports(there) == []
    made = [
        RunReport(
            run_id=f"{n}", started_at="then", read_at=n, seconds=1.0, outcome="refused", candidate=f"v{n}", events=0
        )
        for n in range(3)
    ]
    for report in made:
        keep_report(here, report)
    fsspec.filesystem("s3").pipe_file(f"{url}/.reports/1.json", b"{")
    assert read_reports(there) == [made[2], made[0]]
    assert report_of(there, "v0") == made[0]
    assert refused_versions(there) == ["v2", "v0"]


def test_reports_that_cannot_be_read_are_an_error_and_not_none(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a model that was refused would look like any other."""
    store = ModelStore(url, tmp_path)
    keep_report(
        store,
        RunReport(run_id="1", started_at="then", read_at=1, seconds=1.0, outcome="refused", candidate="v", events=0),
    )
    filesystem = store.folder._fs  # type: ignore[attr-defined]

    async def gone(path: str, **options: object) -> bytes:
        raise FileNotFoundError(path)

    async def slow(path: str, **options: object) -> bytes:
        raise ConnectionError("503 SlowDown")

    monkeypatch.setattr(filesystem, "_cat_file", slow)
    with pytest.raises(UnavailableError, match="503 SlowDown"):
        refused_versions(store)
    monkeypatch.setattr(filesystem, "_cat_file", gone)
    assert refused_versions(store) == []


def test_only_so_many_copies_stay(url: str, tmp_path: Path) -> None:
    store = ModelStore(url, tmp_path)
    made = [publish(store, seed=seed).version for seed in range(6)]
    for version in made:
        store.path(version)
    assert len([path for path in tmp_path.iterdir() if not path.name.startswith(".")]) == 4
    assert (tmp_path / made[-1]).is_dir()


def test_storage_that_cannot_be_reached_is_an_error_with_a_next_step(url: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be used") as caught:
        publish(ModelStore("s3://there-is-none/models", tmp_path))
    assert "bucket" in str(caught.value.hint)
    assert not fsspec.filesystem("s3").exists("s3://there-is-none")
    assert list((tmp_path / ".staging").iterdir()) == []
    with pytest.raises(UnavailableError, match="not a folder or a URL"):
        ModelStore("nothing://models", tmp_path)
