"""Item neighbourhoods: an item is as good as the items of the history are similar to it.

Similarity: s_ij = c_ij / (sqrt(n_i n_j) + h), with c_ij the users of both items, n_i those of item i and h the
shrinkage, which distrusts what few users tell; h = 0 is the cosine.
Reference: [1] Deshpande and Karypis, Item-based top-N recommendation algorithms, ACM TOIS 22(1), 2004.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, vstack

from benchmarks.baselines.baseline import Settings
from benchmarks.baselines.matrix import interactions
from benchmarks.baselines.space import Space
from model.history import Histories

__all__ = ["RECENCY_SPACE", "SPACE", "ItemKnn", "make_item_knn"]

SPACE: Space = {"neighbours": ("int", (5, 1000)), "shrinkage": ("log", (0.1, 1000.0))}
RECENCY_SPACE: Space = {**SPACE, "half_life": ("log", (0.5, 100.0))}

BLOCK = 256  # items whose similarities are dense at a time


@dataclass(frozen=True)
class ItemKnn:
    """The nearest neighbours of every item.

    Attributes:
        weights: (m, m) float32, column i holds the similarities of item i's neighbours.
        half_life: weigh an item of a query by 2^(-age / half_life); None weighs all the same.
    """

    weights: csr_matrix
    half_life: float | None = None

    @classmethod
    def fit(cls, train: Histories, n_items: int, *, neighbours: int, shrinkage: float) -> "ItemKnn":
        """Fit to histories; the half-life is none of the fit's."""
        users = interactions(train, n_items)
        sizes = np.sqrt(np.bincount(train.items, minlength=n_items))
        blocks = []
        for start in range(0, n_items, BLOCK):
            rows = np.arange(start, min(start + BLOCK, n_items))
            together = (users[:, rows].T @ users).toarray()
            together[np.arange(len(rows)), rows] = 0
            similar = together / np.maximum(np.outer(sizes[rows], sizes) + shrinkage, 1e-9)
            blocks.append(_largest(similar, neighbours))
        return cls(vstack(blocks, format="csr").T.tocsr())

    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        """(b, m) float32: the history's items, weighed by their similarity."""
        query = interactions(histories, self.weights.shape[0], self.half_life)
        scores: npt.NDArray[np.float32] = (query @ self.weights).toarray()
        return scores


def make_item_knn(train: Histories, n_items: int, settings: Settings, *, seed: int) -> ItemKnn:
    """See `searched.Make`; nothing is random here."""
    fitted = ItemKnn.fit(train, n_items, neighbours=int(settings["neighbours"]), shrinkage=settings["shrinkage"])
    return replace(fitted, half_life=settings.get("half_life"))


def _largest(values: npt.NDArray[np.float64], n: int) -> csr_matrix:
    """The n largest of each row, as far as they are positive: (b, m) -> (b, m) float32."""
    n = min(n, values.shape[1])
    columns = np.argpartition(-values, n - 1, axis=1)[:, :n]
    kept = np.take_along_axis(values, columns, axis=1).astype(np.float32)
    offsets = np.arange(len(values) + 1) * n
    sparse = csr_matrix((kept.ravel(), columns.ravel(), offsets), shape=values.shape)
    sparse.eliminate_zeros()
    return sparse
