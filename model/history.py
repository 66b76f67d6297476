"""Histories: ragged lists of item indices, newest last."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import numpy.typing as npt

__all__ = ["Histories"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histories:
    """Compressed sparse rows: row u is items[indptr[u]:indptr[u + 1]], oldest first, newest last.

    Attributes:
        indptr: (n + 1,) int64.
        items: (nnz,) int32; may be a memory map.
    """

    indptr: Int64
    items: Int32

    def __post_init__(self) -> None:
        if len(self.indptr) == 0 or self.indptr[0] != 0 or self.indptr[-1] != len(self.items):
            raise ValueError("indptr: expected n + 1 offsets from 0 to the number of items")
        if len(self.indptr) > 2 and (self.indptr[1:] < self.indptr[:-1]).any():
            raise ValueError("indptr: expected offsets that never fall")

    @classmethod
    def of(cls, rows: Sequence[Int32]) -> "Histories":
        """From one array a user."""
        indptr = np.array([0, *accumulate(map(len, rows))], np.int64)
        # of one row, as of a request that is alone, nothing is copied
        items = rows[0] if len(rows) == 1 else np.concatenate(rows) if rows else np.zeros(0, np.int32)
        return cls(indptr, np.ascontiguousarray(items, np.int32))

    @classmethod
    def empty(cls, n: int) -> "Histories":
        """n rows without items."""
        return cls(np.zeros(n + 1, np.int64), np.zeros(0, np.int32))

    @classmethod
    def from_pairs(cls, users: Int64, items: Int32, n_users: int) -> "Histories":
        """From parallel arrays of pairs; the order of the pairs within a user is kept."""
        order = np.argsort(users, kind="stable")
        indptr = np.zeros(n_users + 1, np.int64)
        np.cumsum(np.bincount(users, minlength=n_users), out=indptr[1:])
        return cls(indptr, items[order].astype(np.int32, copy=False))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, row: int) -> Int32:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    @property
    def lengths(self) -> Int64:
        """(n,) int64."""
        return np.diff(self.indptr)

    def take(self, rows: Int64) -> "Histories":
        """The given rows, in the given order."""
        lengths = self.lengths[rows]
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        source = np.arange(indptr[-1]) + np.repeat(self.indptr[rows] - indptr[:-1], lengths)
        return Histories(indptr, self.items[source])

    def select(self, keep: npt.NDArray[np.bool_]) -> "Histories":
        """The items marked in `keep` (nnz,), in rows as before."""
        kept = np.concatenate(([0], np.cumsum(keep)))
        return Histories(kept[self.indptr], self.items[keep])

    def last(self, n: int) -> "Histories":
        """Each row cut to its newest n items."""
        return self if len(self) == 0 or int(self.lengths.max()) <= n else self.select(self.ages() < n)

    def pieces(self, n: int) -> tuple["Histories", Int64]:
        """Rows cut from their newest end into rows of n items, in order; what is left over comes first.

        An empty row stays one.

        Returns:
            The pieces, and the row that each row's newest piece is, (n,) int64.
        """
        counts = np.maximum(-(-self.lengths // n), 1)
        ends = np.cumsum(counts)
        lengths = np.full(counts.sum(), n)
        lengths[ends - counts] = self.lengths - (counts - 1) * n
        return Histories(np.concatenate(([0], np.cumsum(lengths))), self.items), ends - 1

    def append(self, other: "Histories") -> "Histories":
        """Each row followed by the same row of another."""
        if len(other) != len(self):
            raise ValueError(f"rows: got {len(other)}, expected {len(self)}")
        owners = np.concatenate((self.owners(), other.owners()))
        items = np.concatenate((self.items, other.items))
        return Histories.from_pairs(owners, items, len(self))

    def padded(self) -> Int64:
        """(n, l) int64, l the length of the longest and at least 1: rows, the shorter followed by zeros."""
        padded = np.zeros((len(self), max(int(self.lengths.max(initial=1)), 1)), np.int64)
        padded[self.owners(), self.positions()] = self.items
        return padded

    def rows(self) -> list[Int32]:
        """All rows, as views."""
        return [self[row] for row in range(len(self))]

    def owners(self) -> Int64:
        """Row of every item: (nnz,) int64."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def positions(self) -> Int64:
        """Place of every item in its row, 0 for the oldest: (nnz,) int64."""
        return np.arange(len(self.items)) - np.repeat(self.indptr[:-1], self.lengths)

    def ages(self) -> Int64:
        """Age of every item in items: 0 for the newest of its row: (nnz,) int64."""
        return np.repeat(self.indptr[1:], self.lengths) - 1 - np.arange(len(self.items))
