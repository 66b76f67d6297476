"""Ranking metrics over lists of item indices.

recall@k is hits / |truth|; NDCG@k is binary, its ideal list as long as min(|truth|, k). Users without a truth do
not count. This is the protocol of the published tables for this data (DiffRec, HDRM).
"""

import numpy as np
import numpy.typing as npt

from model.history import Histories

__all__ = ["hits_of", "ndcg", "recall", "summary"]

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]


def hits_of(ranked: Int32, truth: Histories) -> Bool:
    """Which ranked items are true: ranked (b, k), -1 where a list is shorter -> (b, k)."""
    stride = np.int64(max(int(truth.items.max(initial=0)), int(ranked.max(initial=0))) + 2)
    wanted = truth.owners() * stride + truth.items
    keys = np.arange(len(ranked))[:, None] * stride + np.where(ranked < 0, stride - 1, ranked)
    return np.isin(keys, wanted)


def recall(hits: Bool, truth_sizes: npt.NDArray[np.int64], k: int) -> Float64:
    """recall@k of each user: hits (b, at least k), truth_sizes (b,) positive -> (b,)."""
    found: Float64 = hits[:, :k].sum(1) / truth_sizes
    return found


def ndcg(hits: Bool, truth_sizes: npt.NDArray[np.int64], k: int) -> Float64:
    """NDCG@k of each user: hits (b, at least k), truth_sizes (b,) positive -> (b,)."""
    discounts = 1 / np.log2(np.arange(k) + 2.0)
    ideal = np.cumsum(discounts)[np.minimum(truth_sizes, k) - 1]
    gained: Float64 = (hits[:, :k] @ discounts) / ideal
    return gained


def summary(ranked: Int32, truth: Histories, ks: tuple[int, ...] = (10, 20)) -> dict[str, float]:
    """Mean recall@k and NDCG@k over the users that have a truth; ranked (b, max(ks)).

    Raises:
        ValueError: no user has a truth.
    """
    counted = truth.lengths > 0
    if not counted.any():
        raise ValueError("truth: expected at least one user with a held-out item")
    hits, sizes = hits_of(ranked, truth)[counted], truth.lengths[counted]
    values = {}
    for k in ks:
        values[f"recall@{k}"] = float(recall(hits, sizes, k).mean())
        values[f"ndcg@{k}"] = float(ndcg(hits, sizes, k).mean())
    return values
