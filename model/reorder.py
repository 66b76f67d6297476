"""Another order of the nearest items: nearer to or farther from what everybody knows, and less alike.

Both work on a pool of the items nearest to a query. Every term is standardised within the pool, so that the same wish
means the same for a query whose items are near as for one whose items are far.

Reference
    [1] Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking, SIGIR 1998
"""

import numpy as np
import numpy.typing as npt

from model.retrieval.metric import Metric

__all__ = ["diversified", "relevance"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

TINY = 1e-12


def relevance(distances: Float64, counts: Int64, novelty: float) -> Float64:
    """How welcome each item of a pool is: (p,), (p,) -> (p,), greater is better.

    Minus the standardised distance minus `novelty` times the standardised log popularity. For a fixed pool, the k most
    welcome have a mean log popularity that never rises with the novelty: of the best k for n and those for n' > n, the
    second cannot be the more popular, or one of them would not be the best. Popularity itself, not the radius that
    tracks it, because that is what is promised.

    Args:
        distances: from the query.
        counts: interactions of each item.
        novelty: -1, as popular as can be, to 1, as unknown as can be.
    """
    return -_standardised(distances) - novelty * _standardised(np.log1p(counts.astype(np.float64)))


def diversified(metric: Metric, vectors: Float32, welcome: Float64, k: int, diversity: float) -> Int64:
    """Places of k items of a pool, chosen one after the other by maximal marginal relevance [1]: (k',), k' <= k.

    Each maximises (1 - diversity) * its relevance + diversity * its distance to the nearest of those chosen before,
    both scaled to at most 1; ties by place.

    Args:
        metric: how far items are apart.
        vectors: of the pool, (p, d) float32.
        welcome: relevance of each, (p,).
        k: how many.
        diversity: 0, relevance alone, to 1, distance alone after the first.
    """
    spread = np.ptp(welcome) if len(welcome) else 0.0
    scaled = (welcome - welcome.min()) / spread if spread > 0 else np.ones(len(welcome))
    distances = _distances(metric, vectors)
    chosen, apart, scale, value = list[int](), np.full(len(vectors), np.inf), 1.0, scaled.copy()
    for _ in range(min(k, len(vectors))):
        best = int(np.argmax(value))
        chosen.append(best)
        if len(chosen) == 1:
            scale = float(distances[best].max()) or 1.0
        apart = np.minimum(apart, distances[best])
        value = (1 - diversity) * scaled + diversity * np.minimum(apart / scale, 1.0)
        value[chosen] = -np.inf
    return np.array(chosen, np.int64)


def _distances(metric: Metric, vectors: Float32) -> Float64:
    """Between all pairs, by one product: (p, d) -> (p, p), to about 1e-7, which is enough to tell what differs."""
    v = vectors.astype(np.float64)
    if not metric.curved:
        squares = np.vecdot(v, v)
        flat: Float64 = np.sqrt(np.maximum(squares[:, None] + squares - 2 * (v @ v.T), 0.0))
        return flat
    r = np.sqrt(np.vecdot(v, v))[:, None]
    space = v * (np.sinh(r) / np.maximum(r, TINY))
    distances: Float64 = np.arccosh(np.maximum(np.cosh(r) * np.cosh(r).T - space @ space.T, 1.0))
    return distances


def _standardised(values: Float64) -> Float64:
    deviation = values.std() if len(values) else 0.0
    if deviation == 0:
        return np.zeros(len(values))
    standardised: Float64 = (values - values.mean()) / deviation
    return standardised
