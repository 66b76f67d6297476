"""The exponential function, for many numbers at a time."""

import numpy as np

from model.kernels.build import compiled

__all__ = ["exponential"]

EXP_LEAST, EXP_MOST = np.float32(-87.3), np.float32(88.0)  # beyond them float32 has no normal number
LOG2_E, LOG_2_HIGH, LOG_2_LOW = np.float32(1.44269504), np.float32(0.693359375), np.float32(-2.12194440e-4)
EXP_0, EXP_1, EXP_2 = np.float32(5.0000001201e-1), np.float32(1.6666665459e-1), np.float32(4.1665795894e-2)
EXP_3, EXP_4, EXP_5 = np.float32(8.3334519073e-3), np.float32(1.3981999507e-3), np.float32(1.9875691500e-4)


@compiled(fused=True)
def exponential(x: np.float32) -> np.float32:
    """e^x of a float32, off by less than 2^-23 of it: arithmetic alone, which is done for many numbers at a time.

    x = n log 2 + r with |r| <= log(2) / 2, e^r by a polynomial (minimax, Cephes' expf), 2^n by its bits.
    """
    within = max(min(x, EXP_MOST), EXP_LEAST)
    n = np.floor(within * LOG2_E + np.float32(0.5))
    r = within - n * LOG_2_HIGH - n * LOG_2_LOW
    p = ((((EXP_5 * r + EXP_4) * r + EXP_3) * r + EXP_2) * r + EXP_1) * r + EXP_0
    bits = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    power: np.float32 = (p * r * r + r + np.float32(1)) * bits.view(np.float32)
    return power
