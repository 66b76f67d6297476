"""Ids and their indices: sorted ids, looked up by bisection.

The index of an id is its rank in byte order, so no permutation or hash table is kept and the arrays can be
memory-mapped and shared between processes.
"""

from collections.abc import Iterable
from itertools import pairwise

from model.byte_rows import ByteRows

__all__ = ["Vocabulary"]


class Vocabulary(ByteRows):
    """Distinct ids, UTF-8, in byte order."""

    @classmethod
    def of(cls, ids: Iterable[str]) -> "Vocabulary":
        """From ids in byte order.

        Raises:
            ValueError: an id occurs twice or stands out of order.
        """
        encoded = [i.encode() for i in ids]
        for before, after in pairwise(encoded):
            if before >= after:
                raise ValueError(f"ids: expected strict byte order, got {after!r} after {before!r}")
        return cls.pack(encoded)

    def index(self, id_: str) -> int | None:
        """Index of an id, None if it is not in the vocabulary."""
        try:
            wanted = id_.encode()
        except UnicodeEncodeError:
            return None
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self[low] == wanted else None

    def id(self, index: int) -> str:
        """Id at an index.

        Raises:
            IndexError: outside 0..n-1.
        """
        return self[index].decode()

    def ids(self) -> list[str]:
        """All ids, by index."""
        return [row.decode() for row in self]
