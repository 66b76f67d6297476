"""Ids and their indices: sorted UTF-8 ids in one byte array, looked up by bisection.

The index of an id is its rank in byte order, so no permutation or hash table is kept and the arrays can be
memory-mapped and shared between processes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Vocabulary"]


@dataclass(frozen=True)
class Vocabulary:
    """n distinct ids.

    Attributes:
        blob: all ids, UTF-8, one after the other in byte order: (bytes,) uint8; may be a memory map.
        offsets: id i is blob[offsets[i]:offsets[i + 1]]: (n + 1,) int64.
    """

    blob: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        offsets = self.offsets
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(self.blob) or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("offsets: expected n + 1 offsets that never fall, from 0 to the number of bytes")

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
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(e) for e in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def index(self, id_: str) -> int | None:
        """Index of an id, None if it is not in the vocabulary."""
        try:
            wanted = id_.encode()
        except UnicodeEncodeError:
            return None
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._bytes(low) == wanted else None

    def id(self, index: int) -> str:
        """Id at an index.

        Raises:
            IndexError: outside 0..n-1.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} of {len(self)} ids")
        return self._bytes(index).decode()

    def ids(self) -> list[str]:
        """All ids, by index."""
        return [self._bytes(i).decode() for i in range(len(self))]

    def _bytes(self, index: int) -> bytes:
        return self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes()
