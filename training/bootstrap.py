"""Whether a difference is more than the luck of which users were asked.

Reference: [1] Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile intervals).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Interval", "paired_bootstrap"]

RESAMPLES = 10_000
CHUNK = 200


class Interval(NamedTuple):
    """A mean difference and its 95 % interval."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is there."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], *, seed: int) -> Interval:
    """Interval of the mean of a - b over users, who are drawn with replacement, pairs kept [1].

    Args:
        a, b: one value a user, (n,), the same users.
        seed: of the draws.

    Raises:
        ValueError: not the same users, or none.
    """
    if a.shape != b.shape or len(a) == 0:
        raise ValueError(f"a, b: got {a.shape} and {b.shape}, expected the same users, at least one")
    differences = a - b
    generator = np.random.default_rng(seed)
    means = np.concatenate(
        [
            differences[generator.integers(0, len(a), (min(CHUNK, RESAMPLES - start), len(a)))].mean(1)
            for start in range(0, RESAMPLES, CHUNK)
        ]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(differences.mean()), float(low), float(high))
