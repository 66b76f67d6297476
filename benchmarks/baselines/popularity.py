"""Popularity, of `training.baselines`, which has nothing to tune."""

from dataclasses import dataclass

from benchmarks.baselines.baseline import Fitted, Progress
from model.history import Histories
from training.baselines import Popularity
from training.evaluate import ScoreRanker

__all__ = ["PopularityBaseline"]


@dataclass(frozen=True)
class PopularityBaseline:
    """See `Baseline`."""

    name: str = "popularity"
    needs_order: bool = False
    random: bool = False
    max_items: int | None = None

    def fit(
        self, search: Histories, stop: Histories, n_items: int, *, ordered: bool, seed: int, progress: Progress
    ) -> Fitted:
        """Count; nothing is chosen, so that any data will do."""
        return Fitted(ScoreRanker(Popularity(search.append(stop), n_items)), "popularity", {})
