"""Users' factors are the solution of their equation."""

import numpy as np
import pytest

from benchmarks.baselines.ials import Ials
from tests.benchmarks.baselines.planted import communities, histories


def fit(seed: int = 0) -> Ials:
    return Ials(communities()[0], 20, factors=6, regularisation=0.5, confidence=3.0, iterations=10, seed=seed)


def test_a_history_never_seen_gets_the_scores_that_fit_it_best() -> None:
    """Minimising sum_i c_i (p_i - u y_i)^2 + 0.5 |u|^2 with c = 3, p = 1 in the history, c = 1, p = 0 elsewhere."""
    ials = fit()
    items = ials.model.item_factors.astype(np.float64)
    history = [3, 14, 15]
    confidence = np.ones(20)
    confidence[history] = 3.0
    wanted = np.zeros(20)
    wanted[history] = 1.0
    left = (items * confidence[:, None]).T @ items + 0.5 * np.eye(6)
    user = np.linalg.solve(left, items.T @ (confidence * wanted))
    assert ials.score(histories(history))[0] == pytest.approx(items @ user, abs=1e-5)


def test_an_empty_history_scores_nothing() -> None:
    assert (fit().score(histories([], [1]))[0] == 0).all()


def test_other_seeds_start_elsewhere() -> None:
    query = histories([1, 2])
    assert np.array_equal(fit(1).score(query), fit(1).score(query))
    assert not np.array_equal(fit(1).score(query), fit(2).score(query))


def test_the_library_shows_no_progress(capfd: pytest.CaptureFixture[str]) -> None:
    fit()
    assert capfd.readouterr() == ("", "")
