"""A number that the processes of one machine share: looking at it is no system call."""

import mmap
import os
from pathlib import Path

__all__ = ["Mark"]

SIZE = 8


class Mark:
    """A whole number from 0 on, in a file that is mapped into memory. Reads and writes are atomic.

    Args:
        path: the file; made with the number 0 if it is not there.

    Raises:
        OSError: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, SIZE)
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self._number = memoryview(self._map).cast("q")  # aligned, so that no half of a write is ever read

    @property
    def value(self) -> int:
        return self._number[0]

    @value.setter
    def value(self, value: int) -> None:
        self._number[0] = value

    def close(self) -> None:
        """Release the memory."""
        self._number.release()
        self._map.close()
