"""Dropout in training, by random bytes, eight of a number, which on a CPU are drawn faster than a number each."""

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
        numbers = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        mask = (numbers.view(torch.uint8)[: x.numel()] < self.kept).view(x.shape)
        return x * (mask.to(x.dtype) * (BYTES / self.kept))
