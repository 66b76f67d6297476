"""Step sizes over a stage: up at the start, then down along a cosine."""

import math

__all__ = ["share_of_rate"]

WARM_UP_EPOCHS = 2.0
LEAST = 0.02  # of the step size, at the end


def share_of_rate(epoch: float, epochs: int) -> float:
    """What part of the step size is taken at a moment, `epoch` from 0; the least from `epochs` on."""
    up = (epoch + 1) / WARM_UP_EPOCHS
    down = 0.5 + 0.5 * math.cos(math.pi * min(epoch / epochs, 1.0))
    return max(min(up, down), LEAST)
