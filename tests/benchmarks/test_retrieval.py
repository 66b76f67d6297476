"""The benchmark of retrieval, and the generated data that it and others are made on."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import training.export
from benchmarks.generated import Clusters, generate_artifact, generate_histories
from benchmarks.retrieval.document import Document
from hdrm.cli import app
from model.artifact import load_artifact
from model.errors import ConfigError
from model.probe import run_probe
from model.store import ModelStore


def silent(_name: str, _done: int, _total: int) -> None:
    """Nobody is told."""


def test_vectors_stand_in_clusters_between_the_radii() -> None:
    clusters = Clusters(20_000, 16, generator=np.random.default_rng(0))
    items, queries = clusters.items(20_000, (1.0, 3.0)), clusters.queries(100, (2.0, 2.0))
    radii = np.linalg.norm(items, axis=1)
    assert radii.min() >= 1 - 1e-6
    assert radii.max() <= 3 + 1e-6
    assert np.linalg.norm(queries, axis=1) == pytest.approx(2)
    cosines = np.vecdot(items[:-1], items[1:]) / (radii[:-1] * radii[1:])
    assert cosines.mean() > 0.5  # neighbours share a cluster
    assert abs(np.vecdot(items, np.roll(items, 10_000, axis=0)).mean()) < 0.5  # others do not


def test_histories_have_no_item_twice() -> None:
    histories = generate_histories(500, 300, 40, generator=np.random.default_rng(0))
    assert 0 <= histories.items.min() <= histories.items.max() < 300
    assert 30 < histories.lengths.mean() < 50
    assert all(len(set(row.tolist())) == len(row) for row in histories.rows())


def test_a_generated_artifact_can_be_served_and_generated_again(tmp_path: Path) -> None:
    paths = [
        generate_artifact(
            ModelStore(tmp_path / name), users=50, items=300, mean_length=9, dim=8, seed=3, on_phase=silent
        )
        for name in ("one", "two")
    ]
    artifact = load_artifact(paths[0])
    run_probe(artifact.recommender, artifact.probe)
    assert artifact.manifest.retrieval.kind == "scan"
    assert len(artifact.catalogue.fragments) == 300
    assert artifact.catalogue.fragments.facts(7).year is not None
    assert paths[0].name == paths[1].name


def test_a_large_catalogue_gets_lists_that_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.export, "SCANNED_ITEMS", 1000)
    path = generate_artifact(ModelStore(tmp_path), users=60, items=3000, mean_length=20, dim=8, seed=0, on_phase=silent)
    artifact = load_artifact(path)
    run_probe(artifact.recommender, artifact.probe)
    retrieval = artifact.manifest.retrieval
    assert retrieval.kind == "approximate"
    assert retrieval.recall["recall@20"] >= 0.99
    assert str(path / "lists.codes.npy") in Path("/proc/self/maps").read_text()
    index = path / "lists.codes.npy"
    content = bytearray(index.read_bytes())
    content[len(content) // 2] ^= 1
    index.unlink()  # what is mapped must not be cut short
    index.write_bytes(content)
    with pytest.raises(Exception, match=r"lists\.codes\.npy: checksum mismatch"):
        load_artifact(path)


def test_it_prints_a_row_for_every_index_and_writes_them(tmp_path: Path) -> None:
    written = tmp_path / "retrieval.json"
    arguments = ["--items", "3000", "--dim", "8", "--queries", "20", "--excluded", "5", "--rounds", "1"]
    done = CliRunner().invoke(app, ["benchmark", "retrieval", *arguments, "--json", str(written)])
    assert done.exit_code == 0, done.output
    raw = json.loads(written.read_text())
    assert all({"name", "recall@20", "queries_per_second", "bytes_per_item"} <= row.keys() for row in raw["indexes"])
    document = Document.model_validate_json(written.read_text())
    names = ["float64 scan", "lorentz scan", "flat L2", "inverted lists"]
    assert [index.name for index in document.indexes] == names * 2
    for index in document.indexes:
        assert index.name in done.stdout
        assert index.recall == 1 if index.name != "inverted lists" else index.recall > 0.9
        assert index.queries_per_second > 0
    flat, scanned = document.indexes[2], document.indexes[1]
    assert flat.bytes_per_item == 4 * 8
    assert scanned.bytes_per_item == pytest.approx(4 * (8 + 9), rel=0.01)  # whole lines of the cache


def test_a_missing_folder_is_noticed_first(tmp_path: Path) -> None:
    arguments = ["benchmark", "retrieval", "--items", "1000", "--json", str(tmp_path / "no" / "r.json")]
    with pytest.raises(ConfigError, match="is not there"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
