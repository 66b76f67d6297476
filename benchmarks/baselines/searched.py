"""Baselines that are fitted in seconds: their settings are searched anew on every data set."""

from dataclasses import dataclass
from typing import Protocol

from benchmarks.baselines.baseline import Fitted, Progress, Settings, check_data
from benchmarks.baselines.space import TRIALS, Space, best_settings
from model.history import Histories
from training.evaluate import Scorer, ScoreRanker, held_out_score

__all__ = ["Make", "Searched"]


class Make(Protocol):
    """Fits a scorer with given settings."""

    def __call__(self, train: Histories, n_items: int, settings: Settings, *, seed: int) -> Scorer: ...


@dataclass(frozen=True)
class Searched:
    """See `Baseline`.

    Attributes:
        name: what it is chosen by.
        title: its name, for people.
        needs_order: whether it makes no sense without an order.
        space: the settings' ranges.
        make: its fit with given settings.
        random: whether that depends on the seed.
        max_items: the largest catalogue it is for, None for any.
    """

    name: str
    title: str
    needs_order: bool
    space: Space
    make: Make
    random: bool = False
    max_items: int | None = None

    def objective(self, settings: Settings, search: Histories, stop: Histories, n_items: int, *, seed: int) -> float:
        """`held_out_score` on `stop` of a fit to `search`."""
        scorer = self.make(search, n_items, settings, seed=seed)
        return held_out_score(ScoreRanker(scorer), search, stop)

    def choose(
        self, search: Histories, stop: Histories, n_items: int, *, ordered: bool, seed: int, progress: Progress
    ) -> Settings:
        """The best settings by the score on `stop`; see `Baseline.fit`."""
        check_data(self.name, search, stop, needs_order=self.needs_order, ordered=ordered)
        best = best_settings(
            self.space,
            lambda settings, _report: self.objective(settings, search, stop, n_items, seed=seed),
            trials=TRIALS,
            seed=seed,
            told=lambda done, total: progress(f"{self.name}: settings", done, total),
        )
        return best.settings

    def fit(
        self, search: Histories, stop: Histories, n_items: int, *, ordered: bool, seed: int, progress: Progress
    ) -> Fitted:
        """See `Baseline.fit`."""
        best = self.choose(search, stop, n_items, ordered=ordered, seed=seed, progress=progress)
        scorer = self.make(search.append(stop), n_items, best, seed=seed)
        return Fitted(ScoreRanker(scorer), self.title, best)
