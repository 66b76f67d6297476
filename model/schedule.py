"""The diffusion's times: how much signal is left at each, which of them are visited, how the network is told of them.

Functions of the settings alone, shared by training and answering.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model.config import NoiseConfig

__all__ = ["sampling_times", "signal_levels", "time_embeddings"]

Float64 = npt.NDArray[np.float64]

HIGHEST_FREQUENCY = 1000.0


def signal_levels(config: NoiseConfig) -> Float64:
    """ab_t for t = 0..T as (T+1,), with ab_0 = 1; linear in the log signal-to-noise ratio."""
    first, last = (math.log(a / (1 - a)) for a in (config.alpha_bar_first, config.alpha_bar_last))
    log_snr = np.linspace(first, last, config.timesteps)
    return np.concatenate(([1.0], 1 / (1 + np.exp(-log_snr))))


def sampling_times(timesteps: int, steps: int) -> list[int]:
    """The times visited by the reverse process: `steps` integers falling from T, evenly spaced, the last >= 1.

    Raises:
        ValueError: unless 1 <= steps <= timesteps.
    """
    if not 1 <= steps <= timesteps:
        raise ValueError(f"steps: got {steps}, expected 1 to {timesteps} (the length of the forward process)")
    return [int(t) for t in np.ceil(np.linspace(timesteps, 0, steps + 1)[:-1])]


def time_embeddings(times: Sequence[int], timesteps: int, dim: int) -> Float64:
    """Sinusoidal embeddings of the share t / T, at angular frequencies from 1 to 1000: (n, dim)."""
    half = dim // 2
    frequencies = np.geomspace(1.0, HIGHEST_FREQUENCY, half) if half > 1 else np.ones(half)
    angles = np.asarray(times)[:, None] / timesteps * frequencies
    return np.concatenate((np.sin(angles), np.cos(angles), np.zeros((len(times), dim - 2 * half))), axis=1)
