"""What every figure is printed beside.

Reference: [1] Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from model.history import Histories
from training.evaluate import ScoreRanker, held_out_score

__all__ = ["EASE_MAX_ITEMS", "HALF_LIVES", "Ease", "Popularity", "dense", "tuned_ease"]

Float32 = npt.NDArray[np.float32]

EASE_MAX_ITEMS = 20_000  # its matrix is dense in items x items
LEAST_LAMBDA = 0.5
LAMBDAS = (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
HALF_LIVES = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 50.0)


class Popularity:
    """The same list for everyone: items by their number of interactions.

    Args:
        train: histories counted.
        n_items: catalogue size m.
    """

    def __init__(self, train: Histories, n_items: int) -> None:
        self.counts = np.bincount(train.items, minlength=n_items).astype(np.float32)

    def score(self, histories: Histories) -> Float32:
        """(b, m) float32."""
        return np.tile(self.counts, (len(histories), 1))


@dataclass(frozen=True)
class Ease:
    """Linear item-item autoencoder in closed form [1]: B = I - P / diag(P), P = (X'X + lambda I)^-1.

    Attributes:
        weights: B, (m, m) float32: for catalogues of up to EASE_MAX_ITEMS.
        regularisation: lambda.
        half_life: weigh an item of a query by 2^(-age / half_life); None weighs all the same.
    """

    weights: Float32
    regularisation: float
    half_life: float | None = None

    @classmethod
    def fit(cls, train: Histories, n_items: int, *, regularisation: float) -> "Ease":
        """Fit to histories; the half-life is none of the fit's."""
        return cls.of(_gram(train, n_items), regularisation)

    @classmethod
    def of(cls, gram: npt.NDArray[np.float64], regularisation: float) -> "Ease":
        """Fit to X'X, (m, m)."""
        regularised = gram.copy()
        regularised[np.diag_indices(len(gram))] += regularisation
        inverse = np.linalg.inv(regularised)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return cls(weights.astype(np.float32), regularisation)

    def score(self, histories: Histories) -> Float32:
        """(b, m) float32: X B."""
        return dense(histories, len(self.weights), self.half_life) @ self.weights

    def describe(self) -> str:
        """Its name and settings, for people."""
        recency = "" if self.half_life is None else f" + recency (half-life {self.half_life:g})"
        return f"EASE{recency}, lambda {self.regularisation:g}"


def tuned_ease(search: Histories, stop: Histories, n_items: int, *, half_lives: Sequence[float | None]) -> Ease:
    """EASE on all data, with the settings that are best on `stop` by `held_out_score`.

    First the regularisation at the middle half-life, then the half-life. Where the least of LAMBDAS is best, it is
    halved for as long as that is better, down to LEAST_LAMBDA: small data.
    """
    gram = _gram(search, n_items)

    def scored(fitted: Ease) -> tuple[float, Ease]:
        return held_out_score(ScoreRanker(fitted), search, stop), fitted

    def at(regularisation: float) -> tuple[float, Ease]:
        return scored(replace(Ease.of(gram, regularisation), half_life=half_lives[len(half_lives) // 2]))

    best = max(map(at, LAMBDAS), key=_score)
    least = LAMBDAS[0]
    while best[1].regularisation == least > LEAST_LAMBDA:
        least = max(least / 2, LEAST_LAMBDA)
        best = max(best, at(least), key=_score)
    others = (half_life for half_life in half_lives if half_life != best[1].half_life)
    _, chosen = max([best, *(scored(replace(best[1], half_life=half_life)) for half_life in others)], key=_score)
    fitted = Ease.fit(search.append(stop), n_items, regularisation=chosen.regularisation)
    return replace(fitted, half_life=chosen.half_life)


def _score(scored: tuple[float, Ease]) -> float:
    return scored[0]


def dense(histories: Histories, n_items: int, half_life: float | None = None) -> Float32:
    """(b, m) float32: 1, or the recency weight, where an item is in a history."""
    matrix = np.zeros((len(histories), n_items), np.float32)
    weights = 1.0 if half_life is None else np.exp2(-histories.ages() / half_life)
    matrix[histories.owners(), histories.items] = weights
    return matrix


def _gram(train: Histories, n_items: int) -> npt.NDArray[np.float64]:
    gram = np.zeros((n_items, n_items), np.float64)
    for start in range(0, len(train), 4096):
        block = dense(train.take(np.arange(start, min(start + 4096, len(train)))), n_items)
        gram += block.T @ block
    return gram
