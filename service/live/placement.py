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
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["PLACED_BY", "Placed", "Placement", "Taken"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

PLACED_BY = 5  # users with a history that have to have taken an item
# how many of the first who took an item make its place: a quarter more at each step, since what is cached is lost by it
LADDER = tuple(sorted({round(PLACED_BY * 1.25**step) for step in range(18)}))
MOST_TAKERS = 2 * LADDER[-1]  # whose vectors are kept, so that others step in for those who are deleted
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
    """Of the new items of one model. What it comes to depends on the log alone, not on how or when it was read: a place
    is a function of those who have taken the item now, in the order they did.

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
        self._places: dict[int, tuple[tuple[str, ...], Float32]] = {}  # by whom, and where
        self._radii: tuple[Int64, Float32] | None = None

    def takes(self, item: int, user_id: str) -> bool:
        """Whether it is of use to know that a user took an item: the first time, of those who come first."""
        takers = self._takers.get(item, {})
        return user_id not in takers and len(takers) < MOST_TAKERS

    def apply(self, taken: Sequence[Taken]) -> None:
        """Take in what happened, in the log's order."""
        if not taken:
            return
        histories = [one.history for one in taken if one.history is not None]
        vectors: Iterator[Float32] = iter(self._users(histories) if histories else ())
        touched = dict[int, None]()
        for one in taken:
            items = list(self._takers) if one.item is None else [one.item]
            vector = None if one.history is None else next(vectors)
            for item in items:
                takers = self._takers.setdefault(item, {})
                if vector is None:
                    if takers.pop(one.user_id, None) is None:
                        continue
                elif one.user_id not in takers and len(takers) < MOST_TAKERS:
                    takers[one.user_id] = vector
                touched[item] = None
        if any([self._place(item) for item in touched]):
            items = sorted(self._places)
            rows = np.array([self._places[item][1] for item in items], np.float32).reshape(-1, self._catalogue.shape[1])
            self.placed = Placed(np.array(items, np.int32), rows)
            content = self.placed.items.tobytes() + rows.tobytes()
            self.revision = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest() if items else b""

    def _place(self, item: int) -> bool:
        """Find the place of an item anew; whether it is another."""
        takers = self._takers[item]
        counted = max((step for step in LADDER if step <= len(takers)), default=0)
        by = tuple(islice(takers, counted))
        if by == self._places.get(item, ((), None))[0]:
            return False
        if not by:
            del self._places[item]
            return True
        mean: Float64 = np.mean([takers[user] for user in by], axis=0, dtype=np.float64)
        length = float(np.sqrt(np.vecdot(mean, mean)))
        place = (mean * (self._radius(counted) / max(length, TINY))).astype(np.float32)
        self._places[item] = by, place
        return True

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
