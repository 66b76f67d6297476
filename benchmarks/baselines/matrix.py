"""Histories as sparse matrices."""

import numpy as np
from scipy.sparse import csr_matrix

from model.history import Histories

__all__ = ["interactions"]


def interactions(histories: Histories, n_items: int, half_life: float | None = None) -> csr_matrix:
    """(n, m) float32: 1 for every item of a row, or 2^(-age / half_life) with the age in items."""
    ages = histories.ages()
    weights = np.ones(len(ages)) if half_life is None else np.exp2(-ages / half_life)
    shape = (len(histories), n_items)
    # a copy: sorting it in place would change the histories' order
    return csr_matrix((weights.astype(np.float32), histories.items, histories.indptr), shape=shape, copy=True)
