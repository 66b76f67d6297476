"""What is stored beside the model agrees with what was measured and trained."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from model.analysis import ANALYSIS, Analysis, read_analysis
from model.artifact import load_artifact
from model.config import SpaceName
from model.errors import ArtifactError
from model.store import ModelStore
from tests.conftest import QUICK
from training.config import load_config
from training.data.datasets import Dataset, make_dataset
from training.data.schema import INTERACTION_TYPES, ITEM_TYPES
from training.loop import Epoch
from training.splits import make_split
from training.topology import graph_neighbour_overlap
from training.trainer import Observer, Result, TrainingRun

GEOMETRIES: tuple[SpaceName, ...] = ("euclidean", "hyperbolic")


class Told:
    """Keeps the epochs it is told of."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []

    def observer(self) -> Observer:
        return Observer(lambda _name, _epochs: None, self.epochs.append)


def train(dataset: Dataset, models: Path, told: Told, *changes: str) -> Result:
    config = load_config("default", [*QUICK, *changes])
    run = TrainingRun(dataset, config, preset="default", seed=0, store=ModelStore(models), observer=told.observer())
    return run.run(resume=False)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, told: Told) -> Result:
    return train(dataset, tmp_path_factory.mktemp("models"), told)


@pytest.fixture(scope="module")
def analysis(result: Result) -> Analysis:
    found = read_analysis(result.path)
    assert found is not None
    return found


def test_the_curves_are_the_epochs_that_were_told(analysis: Analysis, told: Told) -> None:
    assert [curve.run for curve in analysis.curves] == [
        "search: encoder",
        "search: attention",
        "search: diffusion",
        "encoder",
        "attention",
        "diffusion",
    ]
    for curve in analysis.curves:
        epochs = [epoch for epoch in told.epochs if epoch.stage == curve.run]
        for stored, happened in ((curve.losses, [e.loss for e in epochs]), (curve.scores, [e.score for e in epochs])):
            np.testing.assert_equal([np.nan if value is None else value for value in stored], happened)
        assert curve.losses[0] is None
    for search in analysis.curves[:2]:
        known = [score for score in search.scores if score is not None]
        assert search.scores[search.best_epoch] == max(known)


def test_accuracy_by_steps_is_that_of_the_comparison(analysis: Analysis, result: Result) -> None:
    *_, without, ours = result.manifest.metrics
    assert [row.steps for row in analysis.steps] == [0, 1, 2, 3, 4, 5]
    for row, metrics in ((analysis.steps[0], without), (analysis.steps[3], ours)):
        assert row.ndcg == pytest.approx(metrics.values["ndcg@20"], abs=1e-6)
        assert row.recall == pytest.approx(metrics.values["recall@20"], abs=1e-6)
    for row in analysis.steps:
        assert row.ndcg_gain.mean == pytest.approx(row.ndcg - analysis.steps[0].ndcg)
        assert row.recall_gain.mean == pytest.approx(row.recall - analysis.steps[0].recall)


def test_a_flat_model_is_analysed_in_flat_space(dataset: Dataset, tmp_path: Path) -> None:
    # far from the origin, where the two spaces differ most
    result = train(dataset, tmp_path, Told(), "encoder.space=euclidean", "encoder_fit.norm_penalty=0.0")
    found = read_analysis(result.path)
    assert found is not None
    *_, without, ours = result.manifest.metrics
    for row, metrics in ((found.steps[0], without), (found.steps[3], ours)):
        assert row.ndcg == pytest.approx(metrics.values["ndcg@20"], abs=1e-6)
    model = load_artifact(result.path).recommender
    split = make_split(dataset, load_config("default").split, seed=0)
    vectors = torch.from_numpy(model.index.vectors.copy())
    (items,) = [row for row in found.topology if row.points == "items after the diffusion"]
    flat, curved = (graph_neighbour_overlap(vectors, split.train, geometry=name) for name in GEOMETRIES)
    assert items.overlap == found.noise[0].graph == flat != curved


def test_the_groups_make_up_the_whole(analysis: Analysis, result: Result) -> None:
    metrics = {row.model: row.values["ndcg@20"] for row in result.manifest.metrics}
    *baselines, plain, ours = metrics
    assert analysis.compared == [ours, plain, max(baselines, key=metrics.__getitem__)]
    for strata in analysis.strata:
        users = [group.users for group in strata.groups]
        for name in analysis.compared:
            mean = np.average([group.ndcg[name] for group in strata.groups], weights=users)
            assert mean == pytest.approx(metrics[name])
        for name in analysis.compared[1:]:
            gains = [group.gains[name].mean for group in strata.groups]
            assert np.average(gains, weights=users) == pytest.approx(metrics[ours] - metrics[name])
        edges = [edge for group in strata.groups for edge in (group.low, group.high)]
        assert edges == sorted(edges)
        assert len(strata.groups) > 1


def test_noise_takes_neighbours_away_and_directional_noise_fewer(analysis: Analysis) -> None:
    kinds = {kind: [row for row in analysis.noise if row.kind == kind] for kind in ("directional", "isotropic")}
    for rows in kinds.values():
        assert (rows[0].t, rows[0].items, rows[0].users) == (0, 1.0, 1.0)
        assert rows[-1].t == 50
        assert rows[-1].items < rows[1].items < 1
    assert kinds["directional"][-1].items > kinds["isotropic"][-1].items
    assert kinds["directional"][0].graph == kinds["isotropic"][0].graph


def test_topology_is_of_items_and_users_before_and_after(analysis: Analysis, result: Result) -> None:
    by_name = {row.points: row for row in analysis.topology}
    assert list(by_name) == [
        "items after the encoder",
        "items after the attention",
        "items after the diffusion",
        "users after the encoder",
        "users as answered, 0 steps",
        "users as answered, 3 steps",
    ]
    items = by_name["items after the diffusion"]
    # clusters of 15 are found again in the space
    assert items.overlap is not None
    assert items.overlap > 1.5 * items.chance
    # what is ranked by is what was measured last
    assert items.overlap == analysis.noise[0].graph
    assert items.chance == pytest.approx(20 / (result.manifest.data.items - 1))


def test_the_analysis_is_part_of_the_artifact_and_checked_as_such(result: Result, tmp_path: Path) -> None:
    assert ANALYSIS in result.manifest.files
    path = result.path / ANALYSIS
    content = path.read_bytes()
    try:
        path.write_bytes(content.replace(b"directional", b"directionaL", 1))
        with pytest.raises(ArtifactError, match=r"analysis\.json: checksum mismatch"):
            load_artifact(result.path)
        with pytest.raises(ArtifactError, match=r"analysis\.json: not a readable analysis"):
            read_analysis(result.path)
    finally:
        path.write_bytes(content)
    assert read_analysis(tmp_path) is None
    assert Analysis.model_validate(json.loads(content)) == read_analysis(result.path)


def test_the_least_of_data_can_be_analysed(tmp_path: Path) -> None:
    rows = [(f"u{user}", item, None) for user in range(3) for item in "abcd"]
    columns = {name: INTERACTION_TYPES[name] for name in ("user_id", "item_id", "timestamp")}
    interactions = pl.DataFrame(rows, columns, orient="row")
    items = pl.DataFrame([(item, None, None, []) for item in "abcd"], ITEM_TYPES, orient="row")
    dataset = make_dataset(interactions, items, name="least", source="tests", terms=None, order="row")
    result = train(dataset, tmp_path, Told(), "noise.timesteps=2", "steps=1")
    found = read_analysis(result.path)
    assert found is not None
    assert [row.steps for row in found.steps] == [0, 1, 2]
    assert [group.users for strata in found.strata for group in strata.groups] == [3, 3]
    assert found.topology[0].overlap is None  # an item shares users with two others at most
