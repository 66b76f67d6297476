"""Implicit alternating least squares, of the library `implicit`.

References: [1] Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.
[2] Rendle et al., Revisiting the Performance of iALS on Item Recommendation Benchmarks, RecSys 2022.
"""

import numpy as np
import numpy.typing as npt
import torch
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from benchmarks.baselines.baseline import Settings
from benchmarks.baselines.matrix import interactions
from benchmarks.baselines.space import Space
from model.history import Histories

__all__ = ["SPACE", "Ials", "make_ials"]

SPACE: Space = {
    "factors": ("choice", (32, 64, 128, 256)),
    "regularisation": ("log", (1e-2, 1e2)),
    "confidence": ("log", (0.3, 30.0)),
    "iterations": ("int", (5, 30)),
}


class Ials:
    """Factors of the items; a user's are solved for from their history, so that a history never seen is served.

    Args:
        train: histories fitted to.
        n_items: catalogue size m.
        factors: dimension of the factors.
        regularisation: weight of the squared factors.
        confidence: weight alpha of what was interacted with, against 1 for everything else [1].
        iterations: alternations.
        seed: of the initial factors.
    """

    def __init__(
        self,
        train: Histories,
        n_items: int,
        *,
        factors: int,
        regularisation: float,
        confidence: float,
        iterations: int,
        seed: int,
    ) -> None:
        self.n_items = n_items
        # the library's threads each solve for other users: those of the linear algebra below would only be in the way
        with threadpool_limits(1, "blas"):
            self.model = AlternatingLeastSquares(
                factors=factors,
                regularization=regularisation,
                alpha=confidence,
                iterations=iterations,
                num_threads=torch.get_num_threads(),
                random_state=seed,
            )
            self.model.fit(interactions(train, n_items), show_progress=False)

    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        """(b, m) float32: products of the items' factors with those that fit the histories best."""
        with threadpool_limits(1, "blas"):
            users = self.model.recalculate_user(np.arange(len(histories)), interactions(histories, self.n_items))
        scores: npt.NDArray[np.float32] = users @ self.model.item_factors.T
        return scores


def make_ials(train: Histories, n_items: int, settings: Settings, *, seed: int) -> Ials:
    """See `searched.Make`."""
    return Ials(
        train,
        n_items,
        factors=int(settings["factors"]),
        regularisation=settings["regularisation"],
        confidence=settings["confidence"],
        iterations=int(settings["iterations"]),
        seed=seed,
    )
