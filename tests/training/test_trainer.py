"""Runs from data to a published artifact: they learn, repeat themselves, and survive an interruption."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.artifact import load_artifact
from model.errors import ArtifactError, HdrmError
from model.geometry import inner
from model.history import Histories
from model.manifest import MANIFEST
from model.probe import run_probe
from model.store import ModelStore
from tests.conftest import QUICK, planted
from training.attention_fit import AttentionStage
from training.config import load_config
from training.corpus import Corpus
from training.data.datasets import Dataset
from training.diffusion_fit import DiffusionStage
from training.encoder_fit import EncoderStage
from training.fit import fit
from training.loop import Epoch, Stage, State, run_stage
from training.splits import make_split
from training.stages import most_epochs
from training.trainer import Observer, Result, TrainingRun

SHORT = [f"{stage}_fit.budget.{key}=2" for stage in ("encoder", "diffusion") for key in ("updates", "least_epochs")]
SILENT = Observer(lambda _name, _epochs: None, lambda _epoch: None)


class Interrupted(Exception):
    """Stands for the signal that ends a process."""


def training_run(
    dataset: Dataset, models: Path, *changes: str, preset: str = "default", seed: int = 0, observer: Observer = SILENT
) -> TrainingRun:
    config = load_config(preset, [*QUICK, *changes])
    return TrainingRun(dataset, config, preset=preset, seed=seed, store=ModelStore(models), observer=observer)


def digests(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.iterdir() if p.name != MANIFEST}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> Result:
    return training_run(dataset, tmp_path_factory.mktemp("models")).run(resume=False)


def test_the_model_learns_what_was_planted(result: Result) -> None:
    popularity, ease, recent_ease, no_diffusion, hdrm = result.manifest.metrics
    assert hdrm.values["recall@20"] > 1.3 * popularity.values["recall@20"]
    names = [row.model for row in (popularity, ease, recent_ease, no_diffusion, hdrm)]
    starts = ("popularity", "EASE, lambda", "EASE + recency", "HDRM, no diffusion", "HDRM, default (3 steps)")
    assert all(name.startswith(start) for name, start in zip(names, starts, strict=True))


def test_the_artifact_loads_and_reproduces_its_probe(result: Result) -> None:
    artifact = load_artifact(result.path)
    run_probe(artifact.recommender, artifact.probe)
    assert artifact.catalogue.fragments.facts(0).title is None  # "i0" has none
    assert artifact.catalogue.fragments.facts(1).title == "Item 1"
    served = artifact.catalogue.histories
    assert int(served.lengths.sum()) == int(artifact.catalogue.counts.sum())
    assert ModelStore(result.path.parent).current() == result.manifest.version


def test_the_same_seed_gives_the_same_artifact_and_another_seed_another(
    result: Result, dataset: Dataset, tmp_path: Path
) -> None:
    again = training_run(dataset, tmp_path).run(resume=False)
    assert again.manifest.version == result.manifest.version
    assert digests(again.path) == digests(result.path)
    other = training_run(dataset, tmp_path, seed=1).run(resume=False)
    assert other.manifest.version != result.manifest.version


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("search: encoder", 5),
        ("search: attention", 2),
        ("search: diffusion", 2),
        ("encoder", 2),
        ("attention", 2),
        ("diffusion", 2),
    ],
)
def test_an_interrupted_run_resumes_to_the_same_artifact(
    result: Result,
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    number: int,
) -> None:
    monkeypatch.setattr("training.trainer.CHECKPOINT_SECONDS", 0.0)
    epochs: list[tuple[str, int]] = []

    def epoch(done: Epoch) -> None:
        epochs.append((done.stage, done.number))
        if (done.stage, done.number) == (stage, number):
            raise Interrupted

    first = training_run(dataset, tmp_path, observer=Observer(lambda _name, _epochs: None, epoch))
    with pytest.raises(Interrupted):
        first.run(resume=False)
    assert ModelStore(tmp_path).current() is None
    assert first.interrupted()
    seen = len(epochs)
    second = training_run(
        dataset, tmp_path, observer=Observer(lambda _name, _epochs: None, lambda e: epochs.append((e.stage, e.number)))
    )
    resumed = second.run(resume=True)
    # the interrupted epoch had not been kept; nothing before it is done again
    assert epochs[seen] == (stage, number)
    assert resumed.manifest.version == result.manifest.version
    assert digests(resumed.path) == digests(result.path)
    assert not second.interrupted()


def test_an_attention_that_is_given_up_is_not_in_the_artifact_and_the_run_resumes(
    dataset: Dataset, tmp_path: Path
) -> None:
    def epoch(done: Epoch) -> None:
        if (done.stage, done.number) == ("diffusion", 1):
            raise Interrupted

    useless = ("attention_fit.kept=better", "attention_fit.learning_rate=1e-9")
    whole = training_run(dataset, tmp_path / "whole", *useless).run(resume=False)
    interrupted = training_run(
        dataset, tmp_path / "cut", *useless, observer=Observer(lambda _name, _epochs: None, epoch)
    )
    with pytest.raises(Interrupted):
        interrupted.run(resume=False)
    resumed = training_run(dataset, tmp_path / "cut", *useless).run(resume=True)
    assert digests(resumed.path) == digests(whole.path)
    artifact = load_artifact(resumed.path)
    run_probe(artifact.recommender, artifact.probe)
    assert artifact.manifest.model.attention.length == 0
    assert "attention_search_score" in artifact.manifest.diagnostics
    assert "attention_epochs" not in artifact.manifest.diagnostics


def test_what_is_kept_is_trained_with_the_step_sizes_that_were_found_good(dataset: Dataset) -> None:
    shorter = ["attention_fit.batch_interactions=1500", "attention_fit.budget.updates=12"]
    config = load_config("default", [*QUICK, *shorter]).resolved(ordered=True)
    split = make_split(dataset, config.split, seed=0)
    corpus = Corpus(split.train, len(split.items), split.ordered)
    part = Corpus(split.search, len(split.items), split.ordered)
    assert most_epochs(corpus, config) != most_epochs(part, config)
    lengths: list[tuple[str, int]] = []

    def run(stage: Stage, name: str, epochs: int, patience: int | None) -> State:
        if isinstance(stage, AttentionStage | DiffusionStage):
            lengths.append((name, stage.epochs))
        return one_epoch(stage, name, epochs, patience)

    fit(corpus, split.search, split.stop, config, seed=0, device=torch.device("cpu"), run=run)
    most = most_epochs(part, config)
    assert lengths == [
        (prefix + name, most[name]) for prefix in ("search: ", "") for name in ("attention", "diffusion")
    ]


def test_a_checkpoint_of_other_settings_or_code_is_not_picked_up(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = training_run(dataset, tmp_path).checkpoint
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"someone else's")
    assert not training_run(dataset, tmp_path, "encoder.dim=9").interrupted()
    assert not training_run(dataset, tmp_path, seed=1).interrupted()
    unordered = replace(dataset, info=dataset.info.model_copy(update={"order": "none"}))
    assert not training_run(unordered, tmp_path).interrupted()  # the same tables, which mean something else
    assert training_run(dataset, tmp_path).interrupted()
    monkeypatch.setattr("training.trainer.digest_of_code", lambda: "of another version")
    assert not training_run(dataset, tmp_path).interrupted()


def test_a_store_that_cannot_be_written_is_noticed_before_training(dataset: Dataset, tmp_path: Path) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("the training has begun")

    (tmp_path / "file").write_text("")
    for models in (tmp_path / "file", Path("/proc/nope")):
        with pytest.raises(ArtifactError, match="models cannot be written there"):
            training_run(dataset, models, observer=Observer(too_late, too_late)).run(resume=False)


@pytest.mark.parametrize(
    "changes",
    [
        ["encoder.parametrisation=manifold", "encoder_fit.loss=hinge"],
        ["encoder.space=euclidean", "noise.kind=none"],
        ["diffusion.networks=both", "diffusion.gate=0.05", "history.half_lives=['uniform']"],
        ["diffusion_fit.noised=truth", "diffusion_fit.loss=hinge", "diffusion_fit.negatives=3", "order=ignored"],
        [
            "encoder_fit.full_up_to=10",
            "diffusion_fit.full_up_to=10",
            "encoder_fit.samples=9",
            "encoder_fit.most_steps=1",
        ],
        ["noise.kind=isotropic", "noise.angular=false", "noise.radial=false"],
        ["steps=0"],
    ],
)
def test_every_alternative_trains_and_publishes(dataset: Dataset, tmp_path: Path, changes: list[str]) -> None:
    result = training_run(dataset, tmp_path, *changes, *SHORT).run(resume=False)
    assert load_artifact(result.path).manifest.version == result.manifest.version


def test_the_published_method_trains_and_says_so(dataset: Dataset, tmp_path: Path) -> None:
    result = training_run(dataset, tmp_path, preset="paper").run(resume=False)
    model = load_artifact(result.path).manifest.model
    assert (model.diffusion.networks, model.diffusion.gate) == ("both", 0.05)
    popularity, hdrm = result.manifest.metrics[0], result.manifest.metrics[-1]
    assert hdrm.model.startswith("HDRM, paper")
    assert hdrm.values["recall@20"] > popularity.values["recall@20"]


def test_data_without_an_order_and_data_with_its_own_parts_train(tmp_path: Path) -> None:
    unordered = training_run(planted(ordered=False), tmp_path, *SHORT).run(resume=False)
    assert not unordered.manifest.data.ordered
    presplit = training_run(planted(presplit=True), tmp_path, *SHORT).run(resume=False)
    assert "own split" in presplit.manifest.protocol
    train = make_split(planted(presplit=True), load_config("default").split, seed=0).train
    served = load_artifact(presplit.path).catalogue.histories
    assert np.array_equal(served.items, train.items)


def test_a_diverging_run_publishes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    run = training_run(dataset, tmp_path, "encoder_fit.norm_penalty=1e39", "encoder.init_std=1.0")
    with pytest.raises(HdrmError, match="encoder: the loss is"):
        run.run(resume=False)
    assert ModelStore(tmp_path).versions() == []


def test_points_stay_on_the_manifold_through_training(dataset: Dataset) -> None:
    config = load_config("default", [*QUICK, "encoder.parametrisation=manifold"])
    split = make_split(dataset, config.split, seed=0)
    corpus = Corpus(split.search, len(split.items), split.ordered)
    stage = EncoderStage(corpus, config, seed=0, device=torch.device("cpu"), held_out=split.stop)
    before = stage.score()
    for number in range(1, 16):
        stage.epoch(number)
    points = stage.model.embedding.detach()
    torch.testing.assert_close(inner(points, points), -torch.ones(len(points), dtype=points.dtype), rtol=0, atol=1e-6)
    assert stage.score() > before


def one_epoch(stage: Stage, name: str, _epochs: int, patience: int | None) -> State:
    return run_stage(
        stage, name=name, epochs=1, patience=patience, state=None, on_epoch=lambda _: None, on_state=lambda _: None
    )


def test_the_order_of_a_history_matters_exactly_when_the_data_has_one(dataset: Dataset) -> None:
    for made, matters in ((dataset, True), (planted(ordered=False), False)):
        config = load_config("default", QUICK).resolved(ordered=made.info.order != "none")
        split = make_split(made, config.split, seed=0)
        corpus = Corpus(split.train, len(split.items), split.ordered)
        fitted = fit(corpus, split.search, split.stop, config, seed=0, device=torch.device("cpu"), run=one_epoch)
        forward = Histories.of([np.array([1, 2, 3, 4], np.int32)])
        backward = Histories.of([np.array([4, 3, 2, 1], np.int32)])
        with torch.no_grad():
            users = [
                fitted.diffusion(fitted.diffusion.condition(h, fitted.items, fitted.messages), 3)
                for h in (forward, backward)
            ]
        assert torch.allclose(users[0], users[1], atol=1e-6) is not matters
