"""The reverse network f(z_t, c, t): predicts the clean vector z_0 (x0-prediction, HDRM's second stage)."""

import math

import torch
from torch import Tensor, nn

from model.config import DenoiserConfig
from model.dropout import Dropout

__all__ = ["Denoiser", "time_embedding"]


class Denoiser(nn.Module):
    """A multilayer perceptron over the noised vector, the condition's vectors and the time.

    Works in standardised units: inputs and output have about unit variance per coordinate.

    Args:
        dim: coordinates d of the diffused vector.
        conditions: number h of condition vectors.
        config: width, depth, dropout.
    """

    def __init__(self, dim: int, conditions: int, config: DenoiserConfig) -> None:
        super().__init__()
        self.time_dim = config.time_dim
        width = dim * (1 + conditions) + config.time_dim
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.hidden), nn.SiLU(), Dropout(config.dropout)]
            width = config.hidden
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, z_t: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """Correction to the condition's own estimate of z_0.

        Shapes: z_t (b, d), condition (b, h, d), t (b,) in (0, 1] as a share of T -> (b, d).
        """
        features = (z_t, condition.flatten(1), time_embedding(t, self.time_dim))
        correction: Tensor = self.head(self.body(torch.cat(features, dim=-1)))
        return correction


def time_embedding(t: Tensor, dim: int) -> Tensor:
    """Sinusoidal embedding of times in (0, 1], at angular frequencies from 1 to 1000: (b,) -> (b, dim)."""
    half = dim // 2
    frequencies = torch.exp(torch.arange(half, dtype=t.dtype) * (math.log(1000.0) / max(half - 1, 1)))
    angles = t.unsqueeze(-1) * frequencies.to(t.device)
    embedding = torch.cat((torch.sin(angles), torch.cos(angles)), dim=-1)
    return torch.nn.functional.pad(embedding, (0, dim - 2 * half))
