"""Exact nearest items of a small catalogue: the products with all items, the best of them re-ranked in float64.

What it costs does not depend on how many items are excluded.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from model.history import Histories
from model.retrieval.hits import Allowed, Hits, by_length, check_search, confined
from model.retrieval.metric import metric
from model.retrieval.rerank import NONE, rerank, scan
from model.space import SpaceName

__all__ = ["LorentzScan"]

Float32 = npt.NDArray[np.float32]

LEAST_MARGIN, MARGIN_SHARE = 16, 8  # fetched beyond k: at least so many, or this part of k
CELLS = 1 << 20  # products worked on at a time
ROWS = 1 << 16  # items converted at a time


class LorentzScan:
    """A scan by Lorentz inner products in float32, with a certificate against their rounding.

    The k + margin items with the greatest products are fetched and re-ranked. A product is off by at most e
    (`Metric.rounding`), so an item that was not fetched has a product of at most p + e, p being the least fetched.
    If the k-th of the re-ranked has a greater one, none of those left out is as near, and the answer is exact, ties
    included. Otherwise the row is scanned in float64.

    Args:
        vectors: (n, d) float32 tangent vectors at the origin.
        geometry: what distances are measured in; in flat space the products are those of `Metric`.
    """

    def __init__(self, vectors: Float32, *, geometry: SpaceName = "hyperbolic") -> None:
        self.vectors = vectors
        self._metric = metric(geometry)
        n, d = vectors.shape
        self._points = torch.empty(d + 1, n)  # torch's products take as many threads as torch is told to
        self._longest = 0.0
        for start in range(0, n, ROWS):
            part = vectors[start : start + ROWS].astype(np.float64)
            self._points[:, start : start + ROWS] = torch.from_numpy(self._metric.items(part)).T
            self._longest = max(self._longest, float(np.linalg.norm(part, axis=1).max()))

    @property
    def nbytes(self) -> int:
        """Of the vectors and what is kept beside them."""
        return self.vectors.nbytes + self._points.nbytes

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed = None) -> list[Hits]:
        """Exact; see `Retriever.search`."""
        check_search(queries, ks, excluded, allowed, self.vectors.shape[1])
        answers: dict[int, Hits] = {}
        everyone = np.arange(len(queries))
        for k, rows in by_length(ks, everyone, max(CELLS // len(self), 1)):
            whole = len(rows) == len(queries)
            kept = excluded if whole else excluded.take(rows)
            confining = None if allowed is None else [allowed[row] for row in rows]
            found = self._search(queries if whole else queries[rows], k, kept, confining)
            answers.update(zip(rows.tolist(), found, strict=True))
        return [answers[row] for row in range(len(queries))]

    def _search(self, queries: Float32, k: int, excluded: Histories, allowed: Allowed) -> list[Hits]:
        exact = queries.astype(np.float64)
        n, m = len(self), min(k + max(LEAST_MARGIN, k // MARGIN_SHARE), len(self))
        scores = torch.from_numpy(self._metric.queries(exact)) @ self._points
        products: Float32 = scores.numpy()  # the same memory
        products.reshape(-1)[excluded.owners() * n + excluded.items] = -np.inf
        for row, own in enumerate(allowed or ()):
            if own is not None:
                kept = products[row, own]
                products[row] = -np.inf
                products[row, own] = kept
        best = torch.topk(scores, m, sorted=False)  # three times as fast as argpartition
        reached, fetched = best.values.numpy(), best.indices.numpy()
        fetched[np.isneginf(reached)] = NONE
        items, keys = rerank(self._metric, exact, self.vectors, fetched)
        least = reached.min(axis=1)
        kth = keys[:, min(k, m) - 1]
        beyond = self._metric.product(kth, exact) - self._metric.rounding(exact, self._longest)
        # where even what may not be returned was fetched, nothing is left
        certified = np.isneginf(least) | (m == n) | (beyond > least)
        distances = self._metric.distance(keys[:, :k])
        counts = np.count_nonzero(items[:, :k] != NONE, axis=1).tolist()
        found = items[:, :k].astype(np.int32)
        return [
            Hits(found[row, :count], distances[row, :count], 1, True)
            if sure
            else scan(self._metric, exact[row], self.vectors, confined(allowed, row, excluded[row], n), k, rounds=2)
            for row, (count, sure) in enumerate(zip(counts, certified.tolist(), strict=True))
        ]
