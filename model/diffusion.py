"""Stage 3: a user's vector by directional, geometrically restricted diffusion, conditioned on their history.

A user is a function of their history alone, so people never seen in training, and events a second old, are
served by the same function as everyone else. The condition holds the recency-weighted means of the history's item
messages (model.history) and, where there is an order, what comes next by the newest items (model.attention). The base
estimate is a learned combination of them, at first what the attention says, where there is one.
Two designs, `DiffusionConfig.networks`:

    item    z_0 is the mean of the items the user takes up next, of their vectors where there is attention and of their
            messages where there is none; its anchor is the base estimate, and the denoised vector the user's.
    both    as published [1]: one network denoises the ideal item, anchored at the mean of the history's items and
            given the user's vector; one denoises the user's vector given that mean. Both results are mixed in.

Symbols: b users, h history vectors, c condition vectors (h, and with both networks one more), m items, d
coordinates.
Reference: [1] HDRM, WWW 2025, arXiv 2504.01541
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from model.attention import Attention
from model.config import ModelConfig
from model.geometry import cap_radius
from model.history import Histories
from model.means import history_vectors, mean_vectors
from model.process import Process
from model.weights import Weights, check_weights

__all__ = ["Target", "UserDiffusion"]


class Target(NamedTuple):
    """A vector to be denoised, as it stands for a batch of users.

    Attributes:
        process: how.
        anchor: the estimate of it that is known, (b, d).
        condition: what its network is told, (b, c, d).
    """

    process: Process
    anchor: Tensor
    condition: Tensor


class UserDiffusion(nn.Module):
    """The users' side of the model.

    Args:
        config: the model's settings.
        mu: for each diffused vector, the per-coordinate mean of the training set's clean ones, (p, d) float32 with
            p = 1, or 2 with both networks (item, user).
        sigma: their per-coordinate standard deviations, (p, d) float32, positive.
    """

    def __init__(self, config: ModelConfig, *, mu: Tensor, sigma: Tensor) -> None:
        super().__init__()
        self.config = config
        attends, base_learned = config.attention.length > 0, config.diffusion.base == "learned"
        self.attention = Attention(config.encoder.dim, config.attention) if attends else None
        if self.attention is not None:  # it was learned before
            self.attention.requires_grad_(False).eval()
        equal = torch.full((config.vectors,), 1.0 / config.vectors)
        attended = torch.eye(config.vectors)[-1]
        self.base_weights = nn.Parameter(attended if attends else equal, requires_grad=base_learned)
        self.log_scale = nn.Parameter(torch.zeros(()), requires_grad=base_learned)
        self.gate_logit = nn.Parameter(torch.zeros(()), requires_grad=config.diffusion.gate == "learned")
        self.item = Process(config, config.vectors, mu=mu[0], sigma=sigma[0])
        self.user = Process(config, 1, mu=mu[1], sigma=sigma[1]) if config.diffusion.networks == "both" else None

    def train(self, mode: bool = True) -> Self:
        """The attention is asked as it will be when serving."""
        super().train(mode)
        if self.attention is not None:
            self.attention.eval()
        return self

    @classmethod
    def of(cls, config: ModelConfig, weights: Weights) -> Self:
        """With weights as `weights` gives them; on the CPU, for use, not for training.

        Raises:
            ValueError: they are not of a model with these settings.
        """
        check_weights(weights, config)
        blank = torch.ones(2, 2, config.encoder.dim)  # the weights bring the statistics
        made = cls(config, mu=blank[0], sigma=blank[1])
        made.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in weights.items()})
        return made.eval()

    def weights(self) -> Weights:
        """A copy of the parameters and statistics, contiguous, see `model.weights`."""
        return {name: values.detach().cpu().numpy().copy() for name, values in self.state_dict().items()}

    @property
    def gate(self) -> Tensor:
        """Share of the denoised vector in the user's, in [0, 1]."""
        fixed = self.config.diffusion.gate
        return torch.sigmoid(self.gate_logit) if fixed == "learned" else torch.tensor(fixed)

    def condition(self, histories: Histories, items: Tensor, messages: Tensor) -> Tensor:
        """What the model knows of a history: items (m, d), their messages (m, d) -> (b, c, d)."""
        vectors = [history_vectors(histories, messages, self.config.history)]
        if self.attention is not None:
            vectors.append(self.attention.newest(histories, items).unsqueeze(1))
        if self.user is not None:
            newest = histories.last(self.config.history.max_length)
            vectors.append(mean_vectors(newest, items).unsqueeze(1))
        return torch.cat(vectors, dim=1)

    def base(self, condition: Tensor) -> Tensor:
        """The user's vector that needs no diffusion: a combination of the history's vectors, (b, d)."""
        return torch.einsum("bhd,h->bd", condition[:, : len(self.base_weights)], self.base_weights)

    def targets(self, condition: Tensor) -> list[Target]:
        """What is denoised: the next items or the ideal item and, with both networks, the user."""
        base = self.base(condition)
        if self.user is None:
            return [Target(self.item, base, condition)]
        means, items = condition[:, :-1], condition[:, -1:]
        return [Target(self.item, items.squeeze(1), means), Target(self.user, base, items)]

    def mix(self, condition: Tensor, denoised: list[Tensor]) -> Tensor:
        """The user's tangent vector, in the space items are ranked in: (b, d).

        `denoised` has a vector for each target; none of them leaves the diffusion out (zero reverse steps).
        """
        mixed = self.base(condition)
        if denoised:
            mixed = torch.lerp(mixed, torch.stack(denoised).mean(0), self.gate.to(mixed))
        return self.place(mixed)

    def place(self, vectors: Tensor) -> Tensor:
        """From the space of messages to the space that items are ranked in: (b, d) -> (b, d)."""
        return cap_radius(vectors * self.log_scale.exp(), limit=self.config.encoder.max_radius)

    def forward(self, condition: Tensor, steps: int) -> Tensor:
        """From the condition to the user's tangent vector: (b, c, d) -> (b, d); steps 0..T."""
        targets = self.targets(condition) if steps else []
        return self.mix(condition, [process.reverse(anchor, given, steps) for process, anchor, given in targets])
