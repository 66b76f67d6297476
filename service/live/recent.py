"""What was taken lately, for lists of what is popular now."""

from array import array

import numpy as np
import numpy.typing as npt

__all__ = ["LONGEST_SECONDS", "Recent"]

Int64 = npt.NDArray[np.int64]

LONGEST_SECONDS = 30 * 86400.0  # that can be looked back
PRUNED_FROM = 1 << 16


class Recent:
    """When items were taken, as far back as `LONGEST_SECONDS`."""

    def __init__(self) -> None:
        self._times, self._items, self._users = array("d"), array("q"), array("q")
        self._prune_at = PRUNED_FROM

    def add(self, item: int, user_id: str, timestamp: float) -> None:
        """A user took an item."""
        self._times.append(timestamp)
        self._items.append(item)
        self._users.append(hash(user_id))
        if len(self._times) >= self._prune_at:
            self._keep(np.frombuffer(self._times.tobytes()) >= timestamp - LONGEST_SECONDS)
            self._prune_at = max(PRUNED_FROM, 2 * len(self._times))

    def forget(self, user_id: str) -> None:
        """A user took nothing."""
        if len(self._users):
            self._keep(np.frombuffer(self._users.tobytes(), np.int64) != hash(user_id))

    def counts(self, since: float, n_items: int) -> Int64:
        """How often each item was taken from a time on: (n_items,)."""
        # copied at once: an array that something looks into cannot grow, and other threads may let it
        times, items = np.frombuffer(self._times.tobytes()), np.frombuffer(self._items.tobytes(), np.int64)
        n = min(len(times), len(items))
        return np.bincount(items[:n][times[:n] >= since], minlength=n_items)[:n_items]

    def _keep(self, kept: npt.NDArray[np.bool_]) -> None:
        self._times = array("d", np.frombuffer(self._times.tobytes())[kept].tobytes())
        self._items = array("q", np.frombuffer(self._items.tobytes(), np.int64)[kept].tobytes())
        self._users = array("q", np.frombuffer(self._users.tobytes(), np.int64)[kept].tobytes())
