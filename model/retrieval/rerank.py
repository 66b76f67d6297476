"""The float64 distances that decide an answer, whatever found its candidates."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model import kernels
from model.retrieval.hits import Hits
from model.retrieval.metric import Metric

__all__ = ["Reranked", "rerank", "scan"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


class Reranked(NamedTuple):
    """Candidates of b queries, nearest first, ties by item index.

    Attributes:
        items: (b, m) int64, after the last candidate -1.
        keys: (b, m) float64, see `Metric`; after the last candidate infinite.
    """

    items: Int64
    keys: Float64


def rerank(metric: Metric, queries: Float32, vectors: Float32, candidates: Int64) -> Reranked:
    """Order candidates by their exact distance.

    Args:
        metric: what is near.
        queries: (b, d).
        vectors: all items' vectors, (n, d) float32.
        candidates: (b, m) item indices, each at most once in a row, or -1.
    """
    items, keys = candidates.astype(np.int64), np.empty(candidates.shape)
    kernels.rerank(keys, items, queries, vectors, metric.curved)
    return Reranked(items, keys)


def scan(metric: Metric, query: Float32, vectors: Float32, candidates: Int64, k: int, *, rounds: int = 1) -> Hits:
    """The k nearest of some items by float64 distances to all of them: the definition that every search must meet.

    Args:
        query: (d,).
        vectors: all items' vectors, (n, d) float32.
        candidates: item indices, ascending, (c,).
        k: list length.
        rounds: number of this search.
    """
    keys = metric.keys(query, vectors, candidates)
    if k < len(keys):
        near = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        candidates, keys = candidates[near], keys[near]
    best = np.argsort(keys, kind="stable")[:k]
    return Hits(candidates[best].astype(np.int32), metric.distance(keys[best]), rounds, True)
