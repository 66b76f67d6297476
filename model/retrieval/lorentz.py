"""Exact nearest items of a small catalogue: the products with all items, the best of them re-ranked in float64.

What it costs does not depend on how many items are excluded.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model import kernels
from model.aligned import empty_aligned
from model.config import SpaceName
from model.history import Histories
from model.retrieval.hits import Allowed, Hits, check_search, confined
from model.retrieval.metric import metric
from model.retrieval.rerank import scan

__all__ = ["LorentzScan"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

LEAST_MARGIN, MARGIN_SHARE = 16, 8  # fetched beyond k: at least so many, or this part of k
ROWS = 1 << 16  # items converted at a time
ALIGNED = kernels.CACHE_LINE // 4  # a multiple of which the coordinates of one kind are
NOTHING: Int32 = np.zeros(0, np.int32)


class LorentzScan:
    """A scan by Lorentz inner products in float32, with a certificate against their rounding.

    The k + margin items with the greatest products are fetched and re-ranked. The product of an item that was not
    fetched is at most p, the least of those fetched. If the k-th of the re-ranked has a greater one however it was
    rounded (`kernels.least_product`), none of those left out is as near, and the answer is exact, ties included.
    Otherwise the row is scanned in float64.

    Args:
        vectors: (n, d) float32 tangent vectors at the origin, contiguous.
        geometry: what distances are measured in; in flat space the products are those of `Metric`.
    """

    def __init__(self, vectors: Float32, *, geometry: SpaceName = "hyperbolic") -> None:
        self.vectors = vectors
        self._metric = metric(geometry)
        n, d = vectors.shape
        self._points, self._longest = empty_aligned((d + 1, -(-n // ALIGNED) * ALIGNED)), 0.0
        points = np.empty((min(ROWS, n), d + 1), np.float32)
        for start in range(0, n, ROWS):
            part = vectors[start : start + ROWS]
            longest = kernels.lift(points, part, self._metric.curved, True)
            self._points[:, start : start + len(part)] = points[: len(part)].T
            self._longest = max(self._longest, longest)

    @property
    def nbytes(self) -> int:
        """Of the vectors and what is kept beside them."""
        return self.vectors.nbytes + self._points.nbytes

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed = None) -> list[Hits]:
        """Exact; see `Retriever.search`."""
        check_search(queries, ks, excluded, allowed, self.vectors.shape[1])
        b, n = len(queries), len(self)
        fetches = [min(k + max(k // MARGIN_SHARE, LEAST_MARGIN), n) for k in ks]
        most = max(fetches, default=0)
        distances, items = np.empty((b, most)), np.empty((b, most), np.int64)
        counts, certified = np.empty(b, np.int64), np.empty(b, np.bool_)
        is_confined, own_indptr, own = _own(allowed, b)
        kernels.nearest(
            distances,
            items,
            counts,
            certified,
            np.ascontiguousarray(queries),
            self._points,
            self.vectors,
            self._longest,
            self._metric.curved,
            np.array(ks, np.int64),
            np.array(fetches, np.int64),
            excluded.indptr,
            excluded.items,
            is_confined,
            own_indptr,
            own,
        )
        found = items.astype(np.int32)
        return [
            Hits(found[row, :count], distances[row, :count], 1, True)
            if sure
            else scan(self._metric, queries[row], self.vectors, confined(allowed, row, excluded[row], n), k, rounds=2)
            for row, (count, sure, k) in enumerate(zip(counts.tolist(), certified.tolist(), ks, strict=True))
        ]


def _own(allowed: Allowed, b: int) -> tuple[npt.NDArray[np.bool_], Int64, Int32]:
    """Which queries are confined to items of their own, and those, in rows."""
    if allowed is None:
        return np.zeros(b, np.bool_), np.zeros(b + 1, np.int64), NOTHING
    own = Histories.of([NOTHING if items is None else items for items in allowed])
    return np.array([items is not None for items in allowed]), own.indptr, own.items
