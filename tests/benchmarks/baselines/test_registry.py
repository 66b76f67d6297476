"""What all baselines have in common."""

from functools import cache

import numpy as np
import pytest

from benchmarks.baselines.baseline import Fitted
from benchmarks.baselines.registry import BASELINES, TRAINED
from benchmarks.baselines.settings import load_settings
from benchmarks.baselines.space import TRIALS
from model.errors import DataError
from model.history import Histories
from tests.benchmarks.baselines.planted import communities, histories, nothing
from training.evaluate import evaluate
from training.loop import Epoch

ORDERED = ("item-knn-recency", "ease-recency", "sasrec")
CHOOSING = [name for name in BASELINES if name != "popularity"]
BY_HISTORY = [name for name in CHOOSING if name != "lightgcn"]


def fit(name: str, search: Histories, stop: Histories, n_items: int, *, seed: int = 0, ordered: bool = True) -> Fitted:
    return BASELINES[name].fit(search, stop, n_items, ordered=ordered, seed=seed, progress=lambda *told: None)


@cache
def fitted(name: str) -> Fitted:
    return fit(name, *enough(name), 20)


def enough(name: str) -> tuple[Histories, Histories]:
    """What a model needs to see its communities; a transformer needs more than others."""
    return communities(192) if name == "sasrec" else communities()


def test_the_names() -> None:
    names = "popularity item-knn item-knn-recency ease ease-recency ials lightgcn sasrec"
    assert list(BASELINES) == names.split()
    assert tuple(name for name, baseline in BASELINES.items() if baseline.needs_order) == ORDERED


@pytest.mark.parametrize("name", CHOOSING)
def test_communities_are_recovered(name: str) -> None:
    search, stop = enough(name)
    train = search.append(stop)
    ranked = evaluate(fitted(name).ranker, train, train, train, k=2)
    # half of the places are right by chance; what is trained in steps that follow the machine's rounding may miss one
    assert (ranked // 10 == np.arange(len(train))[:, None] % 2).mean() > 0.98


@pytest.mark.parametrize("name", BY_HISTORY)
def test_histories_never_seen_are_served(name: str) -> None:
    query = histories([3, 5], [18, 12, 11])
    ranked = fitted(name).ranker.rank(np.array([0, 0]), query, query, 4)
    assert (ranked // 10).tolist() == [[0] * 4, [1] * 4]


@pytest.mark.parametrize("name", BASELINES)
def test_the_seed_decides_everything(name: str) -> None:
    train = enough(name)[0]
    again = fit(name, *enough(name), 20)
    assert again.describe() == fitted(name).describe()
    lists = [evaluate(each.ranker, train, train, train, k=12).tolist() for each in (fitted(name), again)]
    assert lists[0] == lists[1]


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize(
    ("search", "stop", "n_items"),
    [
        pytest.param(histories([0, 1]), histories([2]), 3, id="one user"),
        pytest.param(histories([0], [0]), histories([], [0]), 1, id="one item"),
        pytest.param(histories([], [3, 1, 4], []), histories([], [2], [1]), 5, id="empty histories"),
        pytest.param(histories([90, 7], [7, 40]), histories([40], [90]), 100, id="most items unknown"),
        pytest.param(histories([0, 1, 2], [2, 1, 0]), histories([3], [3]), 4, id="everyone has had everything"),
    ],
)
def test_odd_data_are_ranked_all_the_same(name: str, search: Histories, stop: Histories, n_items: int) -> None:
    train = search.append(stop)
    ranker = fit(name, search, stop, n_items).ranker
    ranked = ranker.rank(np.arange(len(train)), train, train, 20)
    for row, had in zip(ranked, train.rows(), strict=True):
        found, left = row[row >= 0].tolist(), set(range(n_items)) - set(had.tolist())
        assert len(found) == len(set(found)) == min(len(left), 20)
        assert set(found) <= left


@pytest.mark.parametrize("name", CHOOSING)
def test_nothing_to_choose_by_or_to_learn_from_is_an_error_with_a_next_step(name: str) -> None:
    for search, stop in ((histories([0, 1], [1]), nothing(2)), (nothing(2), histories([0, 1], [1]))):
        with pytest.raises(DataError, match=rf"{name} has nothing to") as caught:
            fit(name, search, stop, 2)
        assert caught.value.hint is not None


@pytest.mark.parametrize("name", ORDERED)
def test_without_an_order_those_that_need_one_refuse(name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} needs interactions in time order") as caught:
        fit(name, *communities(), 20, ordered=False)
    assert caught.value.hint is not None


@pytest.mark.parametrize("name", BASELINES)
def test_a_fit_leaves_histories_as_they_were(name: str) -> None:
    search, stop = communities()
    fit(name, search, stop, 20)
    assert [part.items.tolist() for part in (search, stop)] == [part.items.tolist() for part in communities()]


@pytest.mark.parametrize("name", [name for name in CHOOSING if name not in TRAINED])
def test_every_searched_baseline_tries_as_many_settings(name: str) -> None:
    told: list[tuple[str, int, int]] = []
    search, stop = histories([0, 1], [1, 2]), histories([2], [0])
    BASELINES[name].fit(
        search, stop, 3, ordered=BASELINES[name].needs_order, seed=0, progress=lambda *step: told.append(step)
    )
    assert told == [(f"{name}: settings", done, TRIALS) for done in range(1, TRIALS + 1)]


@pytest.mark.parametrize("name", TRAINED)
def test_kept_settings_lie_in_the_space_searched(name: str) -> None:
    space, settings = TRAINED[name].space, load_settings(name)
    assert settings.keys() == space.keys()
    for setting, (kind, bounds) in space.items():
        value = settings[setting]
        assert value in bounds if kind == "choice" else bounds[0] <= value <= bounds[1]


@pytest.mark.parametrize("name", TRAINED)
def test_the_objective_is_the_best_score_reported(name: str) -> None:
    search, stop = communities()
    told: list[tuple[int, float]] = []
    settings = load_settings(name)
    best = TRAINED[name].objective(
        settings, search, stop, 20, seed=0, told=lambda epoch: told.append((epoch.number, epoch.score))
    )
    assert [number for number, _ in told] == list(range(len(told)))
    assert best == max(score for _, score in told)
    patience = TRAINED[name].make(search, 20, settings, held_out=stop, seed=0).patience
    assert len(told) - 1 - max(range(len(told)), key=lambda number: told[number][1]) <= patience


def test_an_objective_ends_when_the_report_raises() -> None:
    def report(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    search, stop = communities()
    with pytest.raises(KeyboardInterrupt):
        TRAINED["lightgcn"].objective(load_settings("lightgcn"), search, stop, 20, seed=0, told=report)


@pytest.mark.parametrize("name", TRAINED)
def test_training_anew_takes_the_epochs_found(name: str) -> None:
    told: list[tuple[str, int, int]] = []
    result = BASELINES[name].fit(*communities(), 20, ordered=True, seed=0, progress=lambda *step: told.append(step))
    searched, anew = ([step for step in told if step[0] == phase] for phase in (f"{name}: search", name))
    assert told == searched + anew
    assert anew[-1][1:] == (result.settings["epochs"], result.settings["epochs"])


def test_descriptions_name_what_was_chosen() -> None:
    assert fitted("popularity").describe() == "popularity"
    assert fitted("ease-recency").describe().startswith("EASE + recency, regularisation ")
    assert ", half life " in fitted("ease-recency").describe()
    assert fitted("lightgcn").describe().endswith(f", epochs {fitted('lightgcn').settings['epochs']}")
