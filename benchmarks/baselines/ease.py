"""EASE, of `training.baselines`, with the ranges of its settings."""

from dataclasses import replace

from benchmarks.baselines.baseline import Settings
from benchmarks.baselines.space import Space
from model.history import Histories
from training.baselines import Ease

__all__ = ["RECENCY_SPACE", "SPACE", "make_ease"]

SPACE: Space = {"regularisation": ("log", (10.0, 10_000.0))}
RECENCY_SPACE: Space = {**SPACE, "half_life": ("log", (0.5, 100.0))}


def make_ease(train: Histories, n_items: int, settings: Settings, *, seed: int) -> Ease:
    """See `searched.Make`; nothing is random here."""
    fitted = Ease.fit(train, n_items, regularisation=settings["regularisation"])
    return replace(fitted, half_life=settings.get("half_life"))
