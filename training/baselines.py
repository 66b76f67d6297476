"""What every figure is printed beside.

Reference: [1] Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
"""

import numpy as np
import numpy.typing as npt

from model.history import Histories
from training.evaluate import ScoreRanker, measure

__all__ = ["Ease", "Popularity", "tuned_ease"]

Float32 = npt.NDArray[np.float32]

LAMBDAS = (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)


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


class Ease:
    """Linear item-item autoencoder in closed form [1]: B = I - P / diag(P), P = (X'X + lambda I)^-1.

    Dense in items x items: for catalogues up to some 20,000 items.

    Args:
        train: histories it is fitted to.
        n_items: catalogue size m.
        regularisation: lambda.
    """

    def __init__(self, train: Histories, n_items: int, *, regularisation: float) -> None:
        self.regularisation = regularisation
        gram = _gram(train, n_items)
        gram[np.diag_indices(n_items)] += regularisation
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        self.weights: Float32 = weights.astype(np.float32)

    def score(self, histories: Histories) -> Float32:
        """(b, m) float32: X B."""
        return _dense(histories, len(self.weights)) @ self.weights


def tuned_ease(train: Histories, valid: Histories, n_items: int) -> Ease:
    """EASE with the lambda that is best on `valid` (NDCG@20, history and mask: train)."""
    candidates = [Ease(train, n_items, regularisation=value) for value in LAMBDAS]
    return max(candidates, key=lambda ease: measure(ScoreRanker(ease), train, train, valid)["ndcg@20"])


def _dense(histories: Histories, n_items: int) -> Float32:
    matrix = np.zeros((len(histories), n_items), np.float32)
    matrix[histories.owners(), histories.items] = 1.0
    return matrix


def _gram(train: Histories, n_items: int) -> npt.NDArray[np.float64]:
    gram = np.zeros((n_items, n_items), np.float64)
    for start in range(0, len(train), 4096):
        block = _dense(train.take(np.arange(start, min(start + 4096, len(train)))), n_items)
        gram += block.T @ block
    return gram
