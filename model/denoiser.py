"""The reverse network f(z_t, c, t): predicts the clean vector z_0 (x0-prediction, HDRM's second stage)."""

import torch
from torch import Tensor, nn

from model.config import DenoiserConfig
from model.dropout import Dropout

__all__ = ["Denoiser"]


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
        width = dim * (1 + conditions) + config.time_dim
        layers: list[nn.Module] = []
        for _ in range(config.depth):
            layers += [nn.Linear(width, config.hidden), nn.SiLU(), Dropout(config.dropout)]
            width = config.hidden
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, z_t: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """Correction to the condition's own estimate of z_0.

        Shapes: z_t (b, d), condition (b, h, d), time (b, time_dim), see `model.schedule.time_embeddings` -> (b, d).
        """
        correction: Tensor = self.head(self.body(torch.cat((z_t, condition.flatten(1), time), dim=-1)))
        return correction
