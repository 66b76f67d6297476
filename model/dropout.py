"""Dropout in training, by random bytes, which on a CPU are drawn faster than a number for every value."""

import torch
from torch import Tensor, nn

__all__ = ["Dropout"]

BYTES = 256


class Dropout(nn.Module):
    """Sets a share of values to zero in training, and scales the others so that their mean stays; else does nothing.

    Args:
        share: to be dropped, in [0, 1); rounded to a multiple of 1/256.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.kept = max(BYTES - round(share * BYTES), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(...) -> (...). The mask is drawn from torch's global generator."""
        if not self.training or self.kept == BYTES:
            return x
        mask = torch.randint(0, BYTES, x.shape, dtype=torch.uint8, device=x.device) < self.kept
        return x * (mask.to(x.dtype) * (BYTES / self.kept))
