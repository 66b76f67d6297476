"""What is published is whole, is noticed when it is altered, and computes what it computed."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.artifact import Artifact, Catalogue, TrainedModel, load_artifact, verify_artifact, write_artifact
from model.config import DenoiserConfig, EncoderConfig, ModelConfig
from model.diffusion import UserDiffusion
from model.errors import ArtifactError
from model.facets import NO_YEAR, Facets
from model.fragments import Fragments, ItemMetadata
from model.history import Histories
from model.manifest import MANIFEST, SCHEMA_VERSION, DataInfo, Manifest, RunInfo, read_manifest
from model.probe import Probe, run_probe
from model.store import ModelStore
from model.vocabulary import Vocabulary

USERS, ITEMS, DIM = 4, 30, 6


def publish(
    root: Path | ModelStore, *, seed: int = 0, created_at: str = "2025-01-01T00:00:00+00:00", **wrong: object
) -> Manifest:
    """A small random model; `created_at` belongs to the circumstances, the rest to the content.

    `wrong` replaces parts of the catalogue or the probe after the probe was made.
    """
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(encoder=EncoderConfig(dim=DIM), denoiser=DenoiserConfig(hidden=8))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        diffusion = UserDiffusion(config, mu=torch.zeros(1, DIM), sigma=torch.ones(1, DIM))
        torch.nn.init.normal_(diffusion.item.denoiser.head.weight)
    vectors, messages = (torch.randn(ITEMS, DIM, generator=generator) for _ in range(2))
    model = TrainedModel(config, diffusion.weights(), vectors.numpy(), messages.numpy())
    histories = Histories.of([np.arange(u, u + 3, dtype=np.int32) for u in range(USERS)])
    counts = np.bincount(histories.items, minlength=ITEMS).astype(np.int64)
    items = Vocabulary.of([f"i{i:02}" for i in range(ITEMS)])
    metadata = ItemMetadata(titles=["Amélie", *[None] * 29], years=[2001, *[None] * 29], categories=[["a"], *[[]] * 29])
    catalogue = Catalogue(
        users=Vocabulary.of([f"u{u}" for u in range(USERS)]),
        items=items,
        histories=histories,
        user_vectors=model.recommender(counts).user_vectors(histories, config.steps),
        counts=counts,
        fragments=Fragments.of(items, metadata),
        facets=Facets.of(metadata),
    )
    hits = model.recommender(counts).recommend(histories, 5, Histories.empty(USERS))
    probe = Probe(
        histories=[row.tolist() for row in histories.rows()],
        items=[h.items.tolist() for h in hits],
        distances=[h.distances.tolist() for h in hits],
    )
    about = {
        "preset": "test",
        "training": {"x": 1},
        "seed": seed,
        "data": DataInfo(
            name="d", source="s", terms=None, fingerprint="f", users=4, items=30, interactions=12, ordered=True
        ),
        "protocol": "p",
        "metrics": [],
        "diagnostics": {},
        "run": RunInfo(created_at=created_at, seconds=1.5, software={}, device="cpu"),
    }
    store = root if isinstance(root, ModelStore) else ModelStore(root)
    with store.staging() as staged:
        probe = wrong.pop("probe", probe)  # type: ignore[assignment]
        arrays = {name: wrong.pop(name) for name in ("vectors", "messages") if name in wrong}
        model = replace(model, **arrays)  # type: ignore[arg-type]
        write_artifact(staged, model, replace(catalogue, **wrong), probe, about)  # type: ignore[arg-type]
        return store.publish(staged)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    return root / publish(root).version


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(published, tmp_path / published.name))


def test_what_was_written_is_read_back(published: Path) -> None:
    artifact = load_artifact(published)
    assert artifact.manifest == read_manifest(published)
    assert artifact.catalogue.users.ids() == ["u0", "u1", "u2", "u3"]
    assert artifact.catalogue.histories[2].tolist() == [2, 3, 4]
    assert artifact.catalogue.fragments.facts(0).title == "Amélie"
    assert artifact.catalogue.facets.years[:2].tolist() == [2001, NO_YEAR]
    assert artifact.catalogue.facets.of_category("a").tolist() == [0]
    assert artifact.manifest.retrieval.kind == "scan"
    assert verify_artifact(published) == []


def test_arrays_are_memory_mapped(published: Path) -> None:
    artifact = load_artifact(published)  # noqa: F841 - its maps live as long as it does
    maps = Path("/proc/self/maps").read_text()
    names = [path.name for path in published.glob("*.npy")]
    assert {"vectors.npy", "messages.npy", "history.items.npy", "fragments.bytes.npy"} <= set(names)
    assert [name for name in names if str(published / name) not in maps] == []


def test_no_file_is_a_pickle(published: Path) -> None:
    for path in published.iterdir():
        assert path.suffix in {".json", ".npy", ".safetensors"}
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)


FILES = [
    "categories.bytes.npy",
    "categories.offsets.npy",
    "fragments.bytes.npy",
    "fragments.offsets.npy",
    "history.indptr.npy",
    "history.items.npy",
    "items.bytes.npy",
    "items.offsets.npy",
    "manifest.json",
    "members.indptr.npy",
    "members.items.npy",
    "messages.npy",
    "popularity.npy",
    "probe.json",
    "user_vectors.npy",
    "users.bytes.npy",
    "users.offsets.npy",
    "vectors.npy",
    "weights.safetensors",
    "years.npy",
]


def test_the_list_of_files_is_complete(published: Path) -> None:
    assert sorted(path.name for path in published.iterdir()) == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_found_and_its_file_named(copy: Path, name: str) -> None:
    path = copy / name
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 24).astype(int):
        for flip in (0x01, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            assert any(name in problem for problem in verify_artifact(copy)), (place, flip)
            with pytest.raises(ArtifactError, match=name):
                load_artifact(copy)
    path.write_bytes(content)
    assert verify_artifact(copy) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_cut_file_is_named(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    assert any(name in problem for problem in verify_artifact(copy))
    (copy / name).unlink()
    assert any(name in problem for problem in verify_artifact(copy))


def test_an_unreadable_file_is_named(copy: Path) -> None:
    (copy / "probe.json").unlink()
    (copy / "probe.json").symlink_to("probe.json")
    assert verify_artifact(copy) == [f"{copy / 'probe.json'}: cannot be read (Too many levels of symbolic links)"]


def test_a_file_too_many_and_a_wrong_directory_name_are_found(copy: Path) -> None:
    (copy / "extra.npy").write_bytes(b"")
    assert verify_artifact(copy) == [f"{copy / 'extra.npy'}: not part of the artifact"]
    (copy / "extra.npy").unlink()
    renamed = copy.rename(copy.with_name("other"))
    assert "holds version" in verify_artifact(renamed)[0]


def test_another_schema_version_says_what_to_do(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ArtifactError, match=f"schema version 99, this program reads {SCHEMA_VERSION}") as caught:
        read_manifest(copy)
    assert caught.value.hint == "train the model again with this version of hdrm"


def test_the_version_is_the_content_not_the_circumstances(published: Path, tmp_path: Path) -> None:
    assert publish(tmp_path, created_at="2031-12-31T00:00:00+00:00").version == published.name
    assert publish(tmp_path, seed=1).version != published.name


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("users", Vocabulary.of(["u0"]), r"histories: got 4, expected 1"),
        ("items", Vocabulary.of(["i0"]), r"vectors: got \(30, 6\), expected \(1, 6\)"),
        ("counts", np.zeros(3, np.int64), r"popularity: got \(3,\), expected \(30,\)"),
        ("fragments", Fragments.of(Vocabulary.of([]), ItemMetadata([], [], [])), "fragments: got 0, expected 30"),
        ("histories", Histories.of([np.array([30], np.int32)] * 4), "item indices from 0 to 29"),
        ("histories", Histories.of([np.array([-1], np.int32)] * 4), "item indices from 0 to 29"),
        ("facets", Facets.of(ItemMetadata([None], [None], [[]])), r"years: got \(1,\), expected \(30,\)"),
        ("user_vectors", np.zeros((3, 6), np.float32), r"user vectors: got \(3, 6\), expected \(4, 6\)"),
        ("user_vectors", np.full((4, 6), np.nan, np.float32), "user vectors: expected finite numbers alone"),
        ("counts", np.ones(30, np.int32), "popularity: got int32, expected int64"),
        ("counts", np.full(30, -1), "popularity: expected counts of at least 0"),
        ("vectors", np.full((30, 6), np.nan, np.float32), "vectors: expected finite numbers alone"),
        ("messages", np.full((30, 6), np.inf, np.float32), "messages: expected finite numbers alone"),
        ("probe", Probe(histories=[[30]], items=[[0]], distances=[[0.1]]), "probe: expected item indices from 0 to 29"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, part: str, value: object, message: str) -> None:
    manifest = publish(tmp_path, **{part: value})  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=message):
        load_artifact(tmp_path / manifest.version)


def test_a_version_that_is_not_the_contents_is_refused(copy: Path) -> None:
    renamed = read_manifest(copy).model_copy(update={"version": "test-000000000000"})
    body = renamed.model_copy(update={"checksum": ""}).model_dump(mode="json")
    sealed = body | {"checksum": hashlib.sha256(canonical(body)).hexdigest()}
    (copy / MANIFEST).write_bytes(canonical(sealed))
    with pytest.raises(ArtifactError, match="the version test-000000000000 is not that of the content"):
        read_manifest(copy)


def canonical(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


@pytest.mark.parametrize(
    ("histories", "items", "distances"),
    [([], [], []), ([[0]], [[]], [[]]), ([[0]], [[1]], []), ([[0], [1]], [[1], [1, 2]], [[0.1], [0.1, 0.2]])],
)
def test_a_probe_has_answers_of_one_length(
    histories: list[list[int]], items: list[list[int]], distances: list[list[float]]
) -> None:
    with pytest.raises(ValueError, match="expected an answer for every history"):
        Probe(histories=histories, items=items, distances=distances)


def test_the_probe_accepts_the_model_it_was_made_with_and_no_other(published: Path) -> None:
    artifact = load_artifact(published)
    run_probe(artifact.recommender, artifact.probe)
    head = "item.denoiser.head.weight"
    other = replace(artifact.model, weights={**artifact.model.weights, head: artifact.model.weights[head] * 1.5})
    with pytest.raises(ArtifactError, match="does not give the answers"):
        run_probe(other.recommender(artifact.catalogue.counts), artifact.probe)


def test_the_probe_tolerates_rounding(published: Path) -> None:
    artifact = load_artifact(published)
    nudged = artifact.probe.model_copy(
        update={"distances": [[d + 5e-5 for d in row] for row in artifact.probe.distances]}
    )
    run_probe(artifact.recommender, nudged)


def test_an_answer_is_the_same_alone_and_in_a_batch(published: Path) -> None:
    artifact: Artifact = load_artifact(published)
    histories = artifact.catalogue.histories
    together = artifact.recommender.recommend(histories, 5, Histories.empty(USERS))
    for user in range(USERS):
        alone = artifact.recommender.recommend(histories.take(np.array([user])), 5, Histories.empty(1))[0]
        assert alone.items.tolist() == together[user].items.tolist()
        np.testing.assert_allclose(alone.distances, together[user].distances, rtol=1e-5)


def test_popular_items_come_in_order_without_the_excluded(published: Path) -> None:
    recommender = load_artifact(published).recommender
    # counts: items 2 and 3 have three, 1 and 4 two, 0 and 5 one
    assert recommender.most_popular(4, np.array([3], np.int32)).tolist() == [2, 1, 4, 0]
