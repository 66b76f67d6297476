"""Times of things that are done in turns, so that what else the machine does meets all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping

from benchmarks.baselines.baseline import Progress

__all__ = ["seconds_in_turns"]


def seconds_in_turns(
    actions: Mapping[str, Callable[[], object]], *, rounds: int, progress: Progress
) -> dict[str, float]:
    """Median wall-clock seconds of each action over `rounds` turns, after one that does not count.

    Args:
        actions: by name.
        rounds: at least 1.
        progress: told "timing", how many turns are done and how many there are.
    """
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(rounds + 1):
        progress("timing", turn, rounds + 1)
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            taken[name].append(time.perf_counter() - started)
    progress("timing", rounds + 1, rounds + 1)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}
