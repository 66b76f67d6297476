"""Exact nearest items by hyperbolic distance: FAISS over tangent vectors, a certificate, a float64 re-rank.

For curvature -1 the Euclidean distance of two tangent vectors at the origin is a lower bound of the geodesic
distance of their points: d_E <= d_H. So if the k-th best d_H among m items fetched by d_E is at most the d_E of
the m-th, no item left out can be nearer, and the answer is exact. Otherwise m is doubled, up to the catalogue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt
import torch

from model.space import Space, SpaceName, space

__all__ = ["ExactIndex", "Hits", "required_overfetch", "scan"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Hits:
    """One user's answer, nearest first, ties by item index.

    Attributes:
        items: item indices, (k',) int32 with k' <= k: fewer only when no more candidates exist.
        distances: their geodesic distances, (k',) float64.
        rounds: searches it took; 1 when the first over-fetch was certified.
    """

    items: Int32
    distances: Float64
    rounds: int


class ExactIndex:
    """A flat L2 index over the items' tangent vectors.

    Args:
        vectors: (n, d) float32 tangent vectors at the origin.
        overfetch: for some list lengths k, how many items to fetch first (calibrated at training time);
            lengths in between take the next larger entry, lengths beyond scale the largest.
        geometry: what distances are measured in.
    """

    def __init__(self, vectors: Float32, *, overfetch: Mapping[int, int], geometry: SpaceName = "hyperbolic") -> None:
        if not overfetch or min(*overfetch, *overfetch.values()) < 1:
            raise ValueError(f"overfetch: got {dict(overfetch)}, expected at least one {{k: m}}, all of them positive")
        self.vectors = vectors
        self.space = space(geometry)
        self.overfetch = dict(sorted(overfetch.items()))
        self._longest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
        self._flat = faiss.IndexFlatL2(vectors.shape[1])
        self._flat.add(np.ascontiguousarray(vectors))

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float32, k: int, excluded: Sequence[Int32]) -> list[Hits]:
        """The k nearest items of every query, without its excluded ones; exact, as `scan`.

        Args:
            queries: (b, d) float32 tangent vectors.
            k: list length, at least 1.
            excluded: for every query, the item indices that must not be returned.

        Raises:
            ValueError: k below 1, or as many exclusions as queries are not given.
        """
        if k < 1:
            raise ValueError(f"k: got {k}, expected at least 1")
        if len(excluded) != len(queries):
            raise ValueError(f"excluded: got {len(excluded)} entries, expected {len(queries)}")
        answers: list[Hits | None] = [None] * len(queries)
        pending = list(range(len(queries)))
        m, rounds = self._first_fetch(k, max((len(e) for e in excluded), default=0)), 0
        while pending:
            rounds += 1
            m = min(m, len(self))
            squared, fetched = self._flat.search(queries[pending], m)
            for row, query in enumerate(pending):
                bound = np.inf if m == len(self) else self._lower_bound(queries[query], squared[row, -1])
                hits = _nearest(self.space, queries[query], self.vectors, fetched[row], k, excluded[query], rounds)
                if m == len(self) or (len(hits.items) == k and hits.distances[-1] <= bound):
                    answers[query] = hits
            pending = [query for query in pending if answers[query] is None]
            m *= 2
        return [hits for hits in answers if hits is not None]

    def _first_fetch(self, k: int, excluded: int) -> int:
        longest, largest = next(reversed(self.overfetch.items()))
        base = next((m for key, m in self.overfetch.items() if key >= k), -(-largest * k // longest))
        return max(base, k) + excluded

    def _lower_bound(self, query: Float32, squared: np.float32) -> float:
        """A d_E that every item not fetched surely reaches, whatever float32 rounding did to FAISS's.

        Sums of d products are off by at most gamma_d (|q| + |x|)^2 (Higham, Accuracy and Stability, 3.1);
        doubled for the expanded form |q|^2 + |x|^2 - 2 q.x that FAISS uses on larger batches.
        """
        d = self.vectors.shape[1]
        slack = 2 * (d + 2) * 2.0**-24 * (float(np.linalg.norm(query)) + self._longest) ** 2
        return float(np.sqrt(max(float(squared) - slack, 0.0)))


def scan(query: Float32, vectors: Float32, k: int, excluded: Int32, geometry: SpaceName = "hyperbolic") -> Hits:
    """The k nearest items by a float64 scan of the whole catalogue: the definition that `search` must meet."""
    return _nearest(space(geometry), query, vectors, np.arange(len(vectors)), k, excluded, 1)


def required_overfetch(
    queries: Float32, vectors: Float32, k: int, geometry: SpaceName = "hyperbolic"
) -> npt.NDArray[np.int64]:
    """The smallest m that certifies each query's top k: 1 + the items whose d_E is below the k-th d_H: (b,)."""
    items, measure = torch.from_numpy(vectors).double(), space(geometry)
    required = np.empty(len(queries), np.int64)
    for row, query in enumerate(torch.from_numpy(queries).double()):
        distances = measure.distance_of(measure.key(query.expand_as(items), items))
        euclidean = torch.linalg.vector_norm(items - query, dim=-1)
        kth = distances.kthvalue(min(k, len(items))).values
        required[row] = min(1 + int((euclidean < kth).sum()), len(items))
    return required


def _nearest(
    measure: Space,
    query: Float32,
    vectors: Float32,
    candidates: npt.NDArray[np.int64],
    k: int,
    excluded: Int32,
    rounds: int,
) -> Hits:
    """Re-rank candidates in float64; the key orders as the distance does, which is computed for the k kept only."""
    kept = candidates[~np.isin(candidates, excluded)] if len(excluded) else candidates
    # ascending index first, so that the stable sort below breaks ties by index
    kept = np.sort(kept)
    u = torch.from_numpy(query.astype(np.float64))
    v = torch.from_numpy(vectors[kept].astype(np.float64))
    keys = measure.key(u.expand_as(v), v)
    best = torch.argsort(keys, stable=True)[:k]
    return Hits(kept[best.numpy()].astype(np.int32), measure.distance_of(keys[best]).numpy(), rounds)
