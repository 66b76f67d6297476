"""The search for settings."""

import math
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from benchmarks.baselines.baseline import Settings
from benchmarks.baselines.space import Best, Report, Space, best_settings, suggest

SPACE: Space = {
    "share": ("float", (-1.0, 1.0)),
    "rate": ("log", (1e-4, 1.0)),
    "count": ("int", (2, 5)),
    "size": ("choice", (8, 64)),
}


def worth(settings: Settings) -> float:
    return -abs(math.log10(settings["rate"]) + 2) - settings["share"] ** 2 + (settings["size"] == 64)


def search(seed: int) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The best of a function whose optimum is known, and all that was tried."""
    tried: list[dict[str, float]] = []

    def objective(settings: Settings, _report: Report) -> float:
        tried.append(dict(settings))
        return worth(settings)

    best = best_settings(SPACE, objective, trials=40, seed=seed, told=lambda done, total: None)
    assert best.score == max(map(worth, tried))
    return dict(best.settings), tried


def test_the_best_of_what_was_tried_is_found_and_is_near_the_optimum() -> None:
    best, tried = search(0)
    assert len(tried) == 40
    assert best in tried
    assert best["size"] == 64
    assert abs(best["share"]) < 0.5
    assert 10**-2.5 < best["rate"] < 10**-1.5


def test_values_lie_in_their_ranges_and_have_their_types() -> None:
    _, tried = search(1)
    for settings in tried:
        assert list(settings) == list(SPACE)
        assert -1 <= settings["share"] <= 1
        assert 1e-4 <= settings["rate"] <= 1
        assert settings["count"] in (2, 3, 4, 5)
        assert isinstance(settings["count"], int)
        assert settings["size"] in (8, 64)


def test_the_same_seed_tries_the_same() -> None:
    assert search(3) == search(3)
    assert search(3) != search(4)


def test_progress_counts_the_trials() -> None:
    told: list[tuple[int, int]] = []
    best_settings(SPACE, lambda _settings, _report: 0.0, trials=3, seed=0, told=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_falls_behind_is_cut_short_and_counted() -> None:
    epochs: list[int] = []

    def objective(settings: Settings, report: Report) -> float:
        epochs.append(0)
        for epoch in range(20):
            epochs[-1] += 1
            report(epoch, worth(settings))
        return worth(settings)

    best = best_settings(SPACE, objective, trials=20, seed=0, told=lambda done, total: None)
    assert best.trials == len(epochs) == 20
    assert epochs[:4] == [20] * 4
    assert 0 < best.pruned == sum(n < 20 for n in epochs)


def test_the_first_settings_are_those_given() -> None:
    tried: list[Settings] = []

    def objective(settings: Settings, _report: Report) -> float:
        tried.append(settings)
        return 0.0

    first = {"share": 0.5, "rate": 0.1, "count": 3, "size": 8}
    best_settings(SPACE, objective, trials=2, seed=0, told=lambda done, total: None, first=first)
    assert tried[0] == first != tried[1]


def test_optuna_says_nothing_and_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    search(0)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_an_unknown_kind_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"rate: got the kind 'lg', expected float, log, int or choice"):
        suggest(optuna.trial.FixedTrial({}), {"rate": ("lg", (0, 1))})  # type: ignore[arg-type, dict-item]


@pytest.mark.parametrize("at", [0, 5])
def test_a_search_that_is_kept_goes_on(tmp_path: Path, at: int) -> None:
    first, tried = {"share": 0.5, "rate": 0.5, "count": 3, "size": 8}, list[dict[str, float]]()

    def storage() -> optuna.storages.JournalStorage:
        return optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "study")))

    def run(trials: int, *, cut: int) -> Best:
        def objective(settings: Settings, _report: Report) -> float:
            if len(tried) == cut:
                raise KeyboardInterrupt
            tried.append(dict(settings))
            return worth(settings)

        def told(done: int, total: int) -> None:
            assert done <= total == trials

        return best_settings(
            SPACE, objective, trials=trials, seed=0, told=told, first=first, storage=storage(), name="it"
        )

    with pytest.raises(KeyboardInterrupt):
        run(12, cut=at)
    best = run(12, cut=-1)
    assert (len(tried), best.trials) == (12, 12)
    assert tried[0] == first
    assert len({tuple(settings.items()) for settings in tried}) == 12
    assert best.score == max(map(worth, tried))
    assert run(12, cut=12) == best
