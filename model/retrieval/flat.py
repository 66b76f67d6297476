"""Exact nearest items by FAISS over tangent vectors, a certificate and a float64 re-rank.

For curvature -1 the Euclidean distance of two tangent vectors at the origin is a lower bound of the geodesic
distance of their points: d_E <= d_H. So if the k-th best d_H among m items fetched by d_E is below the d_E of the
m-th, no item left out is as near, and the answer is exact. Otherwise m is doubled.
"""

from collections.abc import Mapping, Sequence

import faiss
import numpy as np
import numpy.typing as npt

from model.config import SpaceName
from model.history import Histories
from model.kernels import NONE, UNIT_ROUNDOFF
from model.retrieval.hits import Allowed, Hits, by_length, check_search, confined
from model.retrieval.metric import metric
from model.retrieval.rerank import rerank, scan

__all__ = ["FlatIndex", "excluded_among", "first_fetch"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FIRST_FETCH = {10: 60, 100: 400}  # about what 95 % of queries need where radii spread from 1 to 4
MOST_FETCHED = 4096  # beyond it, a float64 scan costs less than FAISS's heaps
ROWS = 256  # queries answered together


class FlatIndex:
    """A search of the vectors as they are: nothing is built, and they may be a memory map.

    Args:
        vectors: (n, d) float32 tangent vectors at the origin, contiguous.
        overfetch: for some list lengths k, how many items to fetch first; lengths in between take the next larger
            entry, lengths beyond scale the largest.
        geometry: what distances are measured in.
    """

    def __init__(
        self, vectors: Float32, *, overfetch: Mapping[int, int] = FIRST_FETCH, geometry: SpaceName = "hyperbolic"
    ) -> None:
        if not overfetch or min(*overfetch, *overfetch.values()) < 1:
            raise ValueError(f"overfetch: got {dict(overfetch)}, expected at least one {{k: m}}, all of them positive")
        self.vectors = vectors
        self.overfetch = dict(sorted(overfetch.items()))
        self._geometry = geometry
        self._metric = metric(geometry)
        self._longest = float(np.sqrt(np.vecdot(vectors, vectors).max(initial=0.0))) * (1 + 1e-5)

    @property
    def nbytes(self) -> int:
        """Of the vectors; nothing is kept beside them."""
        return self.vectors.nbytes

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed = None) -> list[Hits]:
        """Exact; see `Retriever.search`."""
        check_search(queries, ks, excluded, allowed, self.vectors.shape[1])
        answers: dict[int, Hits] = {}
        unconfined = np.array([row for row in range(len(queries)) if allowed is None or allowed[row] is None], np.int64)
        for row in np.setdiff1d(np.arange(len(queries)), unconfined).tolist():
            answers[row] = self._among(queries[row], confined(allowed, row, excluded[row], len(self)), ks[row])
        for k, rows in by_length(ks, unconfined, ROWS):
            answers.update(self._search(queries, rows, k, excluded))
        return [answers[row] for row in range(len(queries))]

    def _search(self, queries: Float32, rows: Int64, k: int, excluded: Histories) -> dict[int, Hits]:
        """Answers of rows that may have any item."""
        answers: dict[int, Hits] = {}
        m, rounds = first_fetch(self.overfetch, k) + int(excluded.lengths[rows].max()), 0
        pending = rows
        while len(pending) and m <= MOST_FETCHED:
            rounds, m = rounds + 1, min(m, len(self))
            squared, fetched = faiss.knn(queries[pending], self.vectors, m)
            kept = np.where(excluded_among(fetched, excluded.take(pending), len(self)), NONE, fetched)
            items, keys = rerank(self._metric, queries[pending], self.vectors, kept)
            distances = self._metric.distance(keys[:, :k])
            bound = self._lower_bound(queries[pending].astype(np.float64), squared[:, -1].astype(np.float64))
            certified = (m == len(self)) | (distances[:, min(k, m) - 1] < bound)
            found = items[:, :k].astype(np.int32)
            counts = np.count_nonzero(items[:, :k] != NONE, axis=1)
            for place in np.flatnonzero(certified).tolist():
                count = int(counts[place])
                answers[int(pending[place])] = Hits(found[place, :count], distances[place, :count], rounds, True)
            pending = pending[~certified]
            m *= 2
        for row in pending.tolist():
            candidates = confined(None, row, excluded[row], len(self))
            answers[row] = scan(self._metric, queries[row], self.vectors, candidates, k, rounds=rounds + 1)
        return answers

    def _among(self, query: Float32, candidates: Int64, k: int) -> Hits:
        """The answer of a query that is confined to some items."""
        if len(candidates) <= MOST_FETCHED:
            return scan(self._metric, query, self.vectors, candidates, k)
        part = FlatIndex(self.vectors[candidates], overfetch=self.overfetch, geometry=self._geometry)
        hits = part.search(query[None], [k], Histories.of([np.zeros(0, np.int32)]))[0]
        return Hits(candidates[hits.items].astype(np.int32), hits.distances, hits.rounds, hits.certified)

    def _lower_bound(self, queries: Float64, squared: Float64) -> Float64:
        """A d_E that every item not fetched surely reaches, whatever float32 rounding did to FAISS's: (b,).

        Sums of d products are off by at most gamma_d (|q| + |x|)^2 (Higham, Accuracy and Stability, 3.1);
        doubled for the expanded form |q|^2 + |x|^2 - 2 q.x that FAISS uses on larger batches.
        """
        d = self.vectors.shape[1]
        slack = 2 * (d + 2) * UNIT_ROUNDOFF * (np.sqrt(np.vecdot(queries, queries)) + self._longest) ** 2
        bound: Float64 = np.sqrt(np.maximum(squared - slack, 0.0))
        return bound


def first_fetch(overfetch: Mapping[int, int], k: int) -> int:
    """How many items to fetch for a list of k, see `FlatIndex`; `overfetch` in rising order."""
    longest, largest = list(overfetch.items())[-1]
    base = next((m for key, m in overfetch.items() if key >= k), -(-largest * k // longest))
    return max(base, k)


def excluded_among(fetched: Int64, excluded: Histories, n_items: int) -> npt.NDArray[np.bool_]:
    """Which of the items fetched for each row are among its excluded ones: (b, m)."""
    # one number for a row and an item
    wanted = fetched + np.arange(len(fetched))[:, None] * n_items
    return np.isin(wanted, excluded.items + excluded.owners() * n_items)
