"""What is said of ranked lists: accuracy by user, and how they use the catalogue."""

import numpy as np
import numpy.typing as npt

from model.history import Histories
from training.metrics import hits_of, ndcg, recall

__all__ = ["KS", "accuracy_by_user", "catalogue_use"]

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

KS = (10, 20)


def accuracy_by_user(ranked: Int32, truth: Histories) -> dict[str, Float64]:
    """recall, NDCG, precision and reciprocal rank at 10 and 20 of every user that has a truth.

    precision@k is hits / k; MRR@k is 1 / rank of the first hit, 0 without one; the others as in training.metrics.

    Shapes: ranked (n, 20), -1 where a list is shorter -> for each metric (users with a truth,).
    """
    counted = truth.lengths > 0
    hits, sizes = hits_of(ranked, truth)[counted], truth.lengths[counted]
    values: dict[str, Float64] = {}
    for k in KS:
        first = np.where(hits[:, :k].any(1), 1.0 / (hits[:, :k].argmax(1) + 1), 0.0)
        values |= {
            f"recall@{k}": recall(hits, sizes, k),
            f"ndcg@{k}": ndcg(hits, sizes, k),
            f"precision@{k}": hits[:, :k].sum(1) / k,
            f"mrr@{k}": first,
        }
    return values


def catalogue_use(ranked: Int32, truth: Histories, counts: Int64) -> dict[str, float]:
    """Share of the catalogue that is in any list, and the mean popularity rank of what is recommended.

    `counts` (m,) are the items' interactions in training; rank 1 is the most popular item, and a low mean rank means
    that popular items are preferred.
    """
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(1, len(counts) + 1)
    values = {}
    for k in KS:
        shown = ranked[truth.lengths > 0, :k]
        shown = shown[shown >= 0]
        values[f"coverage@{k}"] = len(np.unique(shown)) / len(counts)
        values[f"popularity_rank@{k}"] = float(ranks[shown].mean())
    return values
