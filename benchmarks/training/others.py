"""The models that training is timed beside, each fitted with a clock."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.baselines.baseline import Fitted, Progress, unsuited
from benchmarks.baselines.registry import BASELINES
from benchmarks.baselines.searched import Searched
from model.history import Histories
from training.evaluate import Ranker, ScoreRanker

__all__ = ["Timed", "fit_others"]

NAMES = ("ease", "ease-recency", "ials")


@dataclass(frozen=True)
class Timed:
    """A model and what it took.

    Attributes:
        described: the model and its settings, for people.
        ranker: answers users.
        fit_seconds: one fit with these settings.
        tuning_seconds: looking for the settings; None where that is part of the fit.
    """

    described: str
    ranker: Ranker
    fit_seconds: float
    tuning_seconds: float | None


def fit_others(
    search: Histories, stop: Histories, n_items: int, *, ordered: bool, seed: int, progress: Progress
) -> Iterator[Timed]:
    """Fit EASE, EASE with recency and iALS to `search`, as far as they suit the data, their settings chosen on `stop`.

    `progress` is told a phase, how much of it is done and how much it is.
    """
    for name in NAMES:
        baseline = BASELINES[name]
        assert isinstance(baseline, Searched)
        if unsuited(baseline, ordered=ordered, n_items=n_items):
            continue
        started = time.perf_counter()
        settings = baseline.choose(search, stop, n_items, ordered=ordered, seed=seed, progress=progress)
        chosen = time.perf_counter()
        ranker = ScoreRanker(baseline.make(search, n_items, settings, seed=seed))
        fitted = time.perf_counter()
        described = Fitted(ranker, baseline.title, settings).describe()
        yield Timed(described, ranker, fitted - chosen, chosen - started)
