"""Where new items are: found from who took them, until the next training knows better.

A new item lies in the direction of the tangent mean of its users, as they were just before they took it, at the radius
of the items that as many have taken. The mean itself, shrunk towards the origin or not, would not do as a place: it is
among the users and not among the items, and what is near the origin is near to everybody, so that it would be
recommended to nearly all. Radii grow as popularity falls, so what few have taken is shown to few, and comes nearer as
more take it.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PLACED_BY", "Placed", "Placement", "Taken"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

PLACED_BY = 5  # users with a history that have to have taken an item
MOST_TAKERS = 256  # whose vectors are kept; later ones change nothing
GROWTH = 1.25  # takers for each one before that make it worth placing again: what is cached is lost by it
ALIKE = 0.02  # share of the catalogue whose radii are taken for those of one popularity
LEAST_ALIKE = 5
DIGEST_BYTES = 16
TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Taken:
    """That a user took a new item, or that this no longer holds.

    Attributes:
        item: its index; None for all items.
        user_id: the user's id.
        history: what the user had before, not empty; None where it no longer holds.
    """

    item: int | None
    user_id: str
    history: Int32 | None


class Placed(NamedTuple):
    """New items that have a place.

    Attributes:
        items: their indices, ascending, (p,).
        vectors: their tangent vectors, (p, d).
    """

    items: Int32
    vectors: Float32


class Placement:
    """Of the new items of one model. What it comes to depends on the log alone, not on how it was read.

    Args:
        vectors: of the model's items, (m, d).
        counts: their interactions, (m,).
        users: vectors of users with these histories: n rows to (n, d), each as in any batch.

    Attributes:
        placed: the items that have a place.
        revision: a digest of them.
    """

    def __init__(self, vectors: Float32, counts: Int64, users: Callable[[Sequence[Int32]], Float32]) -> None:
        self.placed = Placed(np.zeros(0, np.int32), np.zeros((0, vectors.shape[1]), np.float32))
        self.revision = b""
        self._catalogue, self._counts, self._users = vectors, counts, users
        self._takers: dict[int, dict[str, Float32]] = {}
        self._places: dict[int, tuple[int, Float32]] = {}  # by how many takers, and where
        self._radii: tuple[Int64, Float32] | None = None

    def apply(self, taken: Sequence[Taken]) -> None:
        """Take in what happened, in the log's order."""
        if not taken:
            return
        histories = [one.history for one in taken if one.history is not None]
        vectors: Iterator[Float32] = iter(self._users(histories) if histories else ())
        before = self.revision
        for one in taken:
            for item in list(self._takers) if one.item is None else [one.item]:
                takers = self._takers.setdefault(item, {})
                if one.history is None:
                    takers.pop(one.user_id, None)
                else:
                    vector = next(vectors)
                    if len(takers) < MOST_TAKERS:
                        takers[one.user_id] = vector
                self._place(item, takers)
        if self.revision != before:
            items = np.array(sorted(self._places), np.int32)
            rows = [self._places[item][1] for item in items.tolist()]
            self.placed = Placed(items, np.array(rows, np.float32).reshape(-1, self._catalogue.shape[1]))

    def _place(self, item: int, takers: dict[str, Float32]) -> None:
        n, before = len(takers), self._places.get(item, (0, None))[0]
        if n < PLACED_BY:
            if self._places.pop(item, None) is not None:
                self._note(item, b"")
        elif not before / GROWTH < n < before * GROWTH or before == 0:
            mean: Float64 = np.mean(list(takers.values()), axis=0, dtype=np.float64)
            length = float(np.sqrt(np.vecdot(mean, mean)))
            place = (mean * (self._radius(n) / max(length, TINY))).astype(np.float32)
            self._places[item] = (n, place)
            self._note(item, place.tobytes())

    def _note(self, item: int, what: bytes) -> None:
        content = b"%b %d %b" % (self.revision, item, what)
        self.revision = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()

    def _radius(self, n: int) -> float:
        """The median radius of the model's items that about n users have taken."""
        if self._radii is None:  # most services never need it
            order = np.argsort(self._counts, kind="stable")
            radii = np.sqrt(np.vecdot(self._catalogue, self._catalogue))
            self._radii = self._counts[order], radii[order]
        counts, radii = self._radii
        reach = max(int(ALIKE * len(counts)), LEAST_ALIKE)
        place = int(np.searchsorted(counts, n))
        low = min(max(place - reach, 0), max(len(counts) - 2 * reach, 0))
        return float(np.median(radii[low : low + 2 * reach]))
