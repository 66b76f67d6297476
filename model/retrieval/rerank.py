"""The float64 distances that decide an answer, whatever found its candidates."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.retrieval.hits import Hits
from model.retrieval.metric import Metric

__all__ = ["Reranked", "rerank", "scan"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

NONE = -1  # in place of a candidate
CELLS = 1 << 18  # float64 numbers worked on at a time, so that they stay in the processor's cache


class Reranked(NamedTuple):
    """Candidates of b queries, nearest first, ties by item index.

    Attributes:
        items: (b, m) int64, after the last candidate -1.
        keys: (b, m) float64, see `Metric`; after the last candidate infinite.
    """

    items: Int64
    keys: Float64


def rerank(metric: Metric, queries: Float64, vectors: Float32, candidates: Int64) -> Reranked:
    """Order candidates by their exact distance.

    Args:
        metric: what is near.
        queries: (b, d) float64.
        vectors: all items' vectors, (n, d) float32.
        candidates: (b, m) item indices, each at most once in a row, or -1.
    """
    # ascending index first, so that the stable sort below breaks ties by index
    items = np.sort(candidates, axis=1)
    keys = np.empty(items.shape)
    rows = max(CELLS // max(items.shape[1] * vectors.shape[1], 1), 1)
    for start in range(0, len(items), rows):
        part = slice(start, start + rows)
        keys[part] = metric.key(queries[part, None, :], vectors[items[part]].astype(np.float64))
    keys[items == NONE] = np.inf
    order = np.argsort(keys, axis=1, kind="stable")
    rows_of = np.arange(len(items))[:, None]
    return Reranked(items[rows_of, order], keys[rows_of, order])


def scan(metric: Metric, query: Float64, vectors: Float32, candidates: Int64, k: int, *, rounds: int = 1) -> Hits:
    """The k nearest of some items by float64 distances to all of them: the definition that every search must meet.

    Args:
        query: (d,) float64.
        vectors: all items' vectors, (n, d) float32.
        candidates: item indices, ascending, (c,).
        k: list length.
        rounds: number of this search.
    """
    keys = np.empty(len(candidates))
    rows = max(CELLS // vectors.shape[1], 1)
    for start in range(0, len(candidates), rows):
        part = slice(start, start + rows)
        keys[part] = metric.key(query, vectors[candidates[part]].astype(np.float64))
    if k < len(keys):
        near = np.flatnonzero(keys <= np.partition(keys, k - 1)[k - 1])
        candidates, keys = candidates[near], keys[near]
    best = np.argsort(keys, kind="stable")[:k]
    return Hits(candidates[best].astype(np.int32), metric.distance(keys[best]), rounds, True)
