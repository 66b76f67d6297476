"""What every way to find the nearest items takes and gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.history import Histories

__all__ = ["Allowed", "Hits", "Retriever", "by_length", "check_search", "confined"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

Allowed = Sequence[Int32 | None] | None
"""For every query, the sorted item indices that it is confined to, or None for all items; None where that is so for
every query."""


@dataclass(frozen=True, slots=True)
class Hits:
    """One query's answer, nearest first, ties by item index.

    Attributes:
        items: item indices, (k',) int32 with k' <= k: fewer only when no more candidates exist.
        distances: their geodesic distances, (k',) float64.
        rounds: searches it took; 1 when the first was enough.
        certified: whether nothing nearer can have been missed.
    """

    items: Int32
    distances: Float64
    rounds: int
    certified: bool


class Retriever(Protocol):
    """Finds the items nearest to queries."""

    vectors: Float32

    @property
    def nbytes(self) -> int:
        """Memory of the vectors and of what is kept beside them."""
        ...

    def search(self, queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed = None) -> list[Hits]:
        """The nearest items of every query, without its excluded ones.

        An answer does not depend on the other queries. It is shorter than asked for only if the items that are
        allowed and not excluded are fewer.

        Args:
            queries: (b, d) float32 tangent vectors at the origin.
            ks: how many items, for every query, each at least 1.
            excluded: for every query, the item indices that must not be returned.
            allowed: see `Allowed`.

        Raises:
            ValueError: a length below 1, vectors of another dimension, or not one entry for every query.
        """
        ...


def check_search(queries: Float32, ks: Sequence[int], excluded: Histories, allowed: Allowed, dim: int) -> None:
    """Raise the errors of `Retriever.search`."""
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"queries: got shape {queries.shape}, expected (b, {dim})")
    if ks and min(ks) < 1:
        raise ValueError(f"k: got {min(ks)}, expected at least 1")
    entries = {"ks": len(ks), "excluded": len(excluded), "allowed": len(queries if allowed is None else allowed)}
    for name, got in entries.items():
        if got != len(queries):
            raise ValueError(f"{name}: got {got} entries, expected {len(queries)}")


def by_length(ks: Sequence[int], rows: Int64, most: int) -> Iterator[tuple[int, Int64]]:
    """The rows in groups that ask for lists of one length, at most so many at once: the length and the rows."""
    lengths = np.asarray(ks)[rows]
    for k in sorted(set(lengths.tolist())):
        group = rows[lengths == k]
        for start in range(0, len(group), most):
            yield k, group[start : start + most]


def confined(allowed: Allowed, row: int, excluded: Int32, n_items: int) -> Int64:
    """The items that may be returned to a query, ascending: (c,) int64."""
    own = None if allowed is None else allowed[row]
    if own is None:
        return np.delete(np.arange(n_items), excluded)
    kept: Int64 = own[~np.isin(own, excluded)].astype(np.int64)
    return kept
