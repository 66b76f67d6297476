"""Byte rows: many short byte strings in one array, which can be memory-mapped and shared between processes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

__all__ = ["ByteRows"]


@dataclass(frozen=True)
class ByteRows:
    """n byte strings.

    Attributes:
        blob: all of them, one after the other: (bytes,) uint8; may be a memory map.
        offsets: row i is blob[offsets[i]:offsets[i + 1]]: (n + 1,) int64.
    """

    blob: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        offsets = self.offsets
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(self.blob) or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("offsets: expected n + 1 offsets that never fall, from 0 to the number of bytes")

    @classmethod
    def pack(cls, rows: Sequence[bytes]) -> Self:
        """From one string a row."""
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.frombuffer(b"".join(rows), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[bytes]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, row: int) -> bytes:
        if not 0 <= row < len(self.offsets) - 1:
            raise IndexError(f"row {row} of {len(self)}")
        return self.blob[self.offsets[row] : self.offsets[row + 1]].tobytes()
