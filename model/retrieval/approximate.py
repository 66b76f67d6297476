"""Nearest items of a large catalogue, nearly all of them: inverted lists, then a float64 re-rank of more than are asked
for.

The lists are searched for the greatest products (`Metric.items`), whose order is that of the distance, so few more than
k need to be fetched. What 8 bits lose the re-rank brings back. How many are fetched, and from how many lists, is
calibrated at training time against exact answers, as is the recall that results (`model.retrieval.calibration`).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model import kernels
from model.config import SpaceName
from model.history import Histories
from model.retrieval.flat import FlatIndex, first_fetch
from model.retrieval.hits import Allowed, Hits, check_search
from model.retrieval.lists import Lists
from model.retrieval.metric import metric

__all__ = ["ApproximateIndex"]

Float32 = npt.NDArray[np.float32]
Int64 = npt.NDArray[np.int64]

MOST_FETCHED = 4096  # beyond it, an exact search costs less
MOST_TURNED = 1024  # items that are near and excluded: what comes after so many may be in lists not looked into


class ApproximateIndex:
    """Inverted lists, with an exact search for whatever they are not good at.

    Queries that are confined to some items, have very much excluded that is near, or find too little in the lists
    probed are answered exactly, so an answer is never shorter than the candidates allow.

    Args:
        vectors: (n, d) float32 tangent vectors at the origin; may be a memory map.
        lists: made by `build_lists` of the same vectors.
        probes: lists looked into for a query.
        overfetch: for some list lengths k, how many items to fetch, as in `FlatIndex`.
        geometry: what distances are measured in.
    """

    def __init__(
        self,
        vectors: Float32,
        lists: Lists,
        *,
        probes: int,
        overfetch: Mapping[int, int],
        geometry: SpaceName = "hyperbolic",
    ) -> None:
        if lists.codes.shape != vectors.shape:
            raise ValueError(f"lists: got {lists.codes.shape} coordinates, expected {vectors.shape}")
        if not 1 <= probes <= len(lists):
            raise ValueError(f"probes: got {probes}, expected 1 to {len(lists)}")
        self.vectors, self.lists = vectors, lists
        self.probes, self.overfetch = probes, dict(sorted(overfetch.items()))
        self._metric = metric(geometry)
        self._exact = FlatIndex(vectors, overfetch=overfetch, geometry=geometry)

    @property
    def nbytes(self) -> int:
        """Of the vectors and the lists."""
        return self.vectors.nbytes + self.lists.nbytes

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed = None) -> list[Hits]:
        """Nearly exact; see `Retriever.search`."""
        check_search(queries, ks, excluded, allowed, self.vectors.shape[1])
        fetches = np.minimum([first_fetch(self.overfetch, k) for k in ks], len(self))
        listed = fetches <= MOST_FETCHED
        if allowed is not None:
            listed &= np.array([own is None for own in allowed])
        rows = np.flatnonzero(listed)
        answers = self._listed(queries, rows, np.array(ks, np.int64), fetches, excluded)
        left = [row for row in range(len(queries)) if row not in answers]
        if left:
            rest = np.array(left)
            confining = None if allowed is None else [allowed[row] for row in left]
            found = self._exact.search(queries[rest], [ks[row] for row in left], excluded.take(rest), confining)
            answers.update(zip(left, found, strict=True))
        return [answers[row] for row in range(len(queries))]

    def _listed(self, queries: Float32, rows: Int64, ks: Int64, fetches: Int64, excluded: Histories) -> dict[int, Hits]:
        """Answers of those rows that are as long as they should be, of items in the lists."""
        if len(rows) < len(queries):
            queries, ks, fetches, excluded = queries[rows], ks[rows], fetches[rows], excluded.take(rows)
        b, most, lists = len(rows), int(fetches.max(initial=0)), self.lists
        distances, items = np.empty((b, most)), np.empty((b, most), np.int64)
        counts, turned = np.empty(b, np.int64), np.empty(b, np.int64)
        kernels.search_lists(
            distances,
            items,
            counts,
            turned,
            np.ascontiguousarray(queries),
            lists.centres,
            lists.offsets,
            lists.items,
            lists.heights,
            lists.codes,
            lists.least,
            lists.step,
            self.vectors,
            self._metric.curved,
            self.probes,
            ks,
            fetches,
            excluded.indptr,
            excluded.items,
        )
        found = items.astype(np.int32)
        whole = np.flatnonzero((counts == ks) & (turned <= MOST_TURNED))
        return {
            int(rows[place]): Hits(found[place, : ks[place]], distances[place, : ks[place]], 1, False)
            for place in whole.tolist()
        }
