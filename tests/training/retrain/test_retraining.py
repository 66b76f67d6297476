"""Runs of a retraining among those who change the store meanwhile."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from model.report import RunReport, read_reports
from model.store import ModelStore
from tests.conftest import QUICK, planted
from training.config import load_config
from training.data.datasets import Dataset
from training.data.schema import ITEM_TYPES
from training.retrain.lease import held_lease
from training.retrain.limits import load_limits
from training.retrain.merge import EVENT_TYPES, Happened
from training.retrain.retraining import Retraining
from training.trainer import Observer

NOTHING = Happened(pl.DataFrame(schema=EVENT_TYPES), pl.DataFrame(schema=ITEM_TYPES), {})
# whatever a small model of a small hold-out comes to by chance, it may serve
LENIENT = ["data.least_users=10", "data.least_interactions=100", "gate.ndcg_loss=0.5"]


def retrain(
    store: ModelStore,
    dataset: Dataset,
    *,
    seed: int = 0,
    force: bool = False,
    drill: bool = False,
    limits: tuple[str, ...] = (),
    changes: tuple[str, ...] = (),
    on_stage: Callable[[str], None] = lambda name: None,
) -> RunReport:
    retraining = Retraining(
        store=store,
        base=dataset,
        happened=NOTHING,
        read_at=1e10,
        config=load_config("default", ["split.by=time", *QUICK, *changes]),
        preset="default",
        seed=seed,
        limits=load_limits([*LENIENT, *limits]),
        keep=7,
        force=force,
        observer=Observer(lambda name, epochs: on_stage(name), lambda epoch: None),
        drill=drill,
    )
    with held_lease(store.folder) as lease:
        return retraining.run(lease)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> tuple[Path, list[str]]:
    """A store of two models, the second of which is current."""
    models = tmp_path_factory.mktemp("retraining")
    made = [retrain(ModelStore(models), dataset, seed=seed, force=True) for seed in (1, 2)]
    assert [report.outcome for report in made] == ["published", "published"]
    return models, [str(report.candidate) for report in made]


@pytest.fixture
def store(versions: tuple[Path, list[str]]) -> ModelStore:
    """The same, whatever another test made of it."""
    store, (first, second) = ModelStore(versions[0]), versions[1]
    store.activate(first)
    store.activate(second)
    for version in {*store.versions()} - {first, second}:
        store.folder.discard(version)
    return store


def test_a_candidate_is_compared_with_what_is_current_when_it_is_done(
    store: ModelStore, dataset: Dataset, versions: tuple[Path, list[str]]
) -> None:
    first, second = versions[1]

    def go_back(stage: str) -> None:
        if stage == "evaluation":
            assert store.rollback() == first

    report = retrain(store, dataset, seed=3, force=True, on_stage=go_back)
    assert (report.outcome, report.before, store.current()) == ("published", first, report.candidate)
    assert f"current: {first}" in [row.model for row in report.comparison]
    assert second not in [row.model.removeprefix("current: ") for row in report.comparison]


def test_a_candidate_that_is_worse_than_what_was_gone_back_to_is_refused(
    store: ModelStore, dataset: Dataset, versions: tuple[Path, list[str]]
) -> None:
    """Also where somebody goes back between the comparison and the publication."""
    first, second = versions[1]
    judged = [str(report.before) for report in read_reports(store)]

    class Hurried(ModelStore):
        """A store where somebody is quicker, once."""

        def succeed(self, before: str | None, version: str) -> bool:
            if self.current() == second:
                self.activate(first)
            return super().succeed(before, version)

    report = retrain(Hurried(store.root), dataset, seed=3, force=True)
    assert report.before == first
    told = read_reports(store)
    assert [one.before for one in told[: len(told) - len(judged)]] == [first, second]
    assert store.current() == (report.candidate if report.outcome == "published" else first)


def test_where_the_last_candidate_was_refused_the_same_data_are_not_trained_on_again(store: ModelStore) -> None:
    more = planted(users=121)
    strict = ("gate.popularity_gain=100",)
    current = store.current()
    assert retrain(store, more, drill=True).outcome == "refused"  # which says nothing about the data
    refused = retrain(store, more, limits=strict)
    assert (refused.outcome, store.current()) == ("refused", current)
    assert retrain(store, more).outcome == "unchanged"
    assert retrain(store, more, changes=("diffusion_fit.budget.updates=13",)).outcome == "published"


def test_a_split_that_is_cut_otherwise_is_refused(store: ModelStore, dataset: Dataset) -> None:
    current = store.current()
    report = retrain(store, dataset, force=True, changes=("split.test=0.2",))
    assert (report.outcome, store.current()) == ("refused", current)
    assert any("cannot be compared" in sentence for sentence in report.failed)
