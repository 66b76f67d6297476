"""What tends to follow an item: a directed graph of the items, from the order of histories.

An edge from i to j weighs w_ij, the sum over j's places after i in anyone's history, up to `reach`, of
2^(-(places - 1) / half_life) / n_j^power, with n_j the interactions of j: what follows everything says little. An
item's follower vector is the mean of z_j under its edges' weights. Where stage 1's graph knows what goes with what,
this one knows what comes next.

Symbols: m items, d coordinates. Time is linear in interactions, memory in interactions and m d.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor

from model.history import Histories
from training.config import FollowersConfig

__all__ = ["follower_vectors"]


def follower_vectors(histories: Histories, vectors: Tensor, config: FollowersConfig) -> Tensor:
    """The mean of what follows each item: (m, d) float32, zero where nothing does.

    Args:
        histories: rows in time order.
        vectors: the items' z, (m, d).
        config: settings.
    """
    n_items = len(vectors)
    popularity = np.bincount(histories.items, minlength=n_items)
    share = np.maximum(popularity, 1) ** -config.popularity_power
    values = np.column_stack((vectors.detach().cpu().numpy(), np.ones(n_items)))
    values = (values * share[:, None]).astype(np.float32)
    rows, items = histories.owners(), histories.items
    sums: npt.NDArray[np.float32] = np.zeros_like(values)
    for places in range(1, config.reach + 1):
        edges = np.flatnonzero(rows[places:] == rows[:-places])
        weights = np.full(len(edges), 2.0 ** (-(places - 1) / config.half_life), np.float32)
        ends = items[edges], items[edges + places]
        sums += scipy.sparse.csr_matrix((weights, ends), shape=(n_items, n_items)) @ values
    total = sums[:, -1:]  # of the ones
    return torch.from_numpy(np.divide(sums[:, :-1], total, out=np.zeros_like(sums[:, :-1]), where=total > 0))
