"""The diffusion of one kind of vector: the forward process with its noise, the reverse process with its network.

The clean vector z_0 is unknown when serving. What is known is an estimate of it, the anchor: its signs direct the
noise, the reverse process starts from it noised, and the network predicts what has to be added to it.

Symbols: b users, c condition vectors, d coordinates; z_t, z_0, anchor (b, d); condition (b, c, d); ab_t share of
signal at time t.
References
    [1] HDRM, WWW 2025, arXiv 2504.01541
    [2] Song et al., Denoising Diffusion Implicit Models, ICLR 2021
"""

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.denoiser import Denoiser
from model.noise import clamp_radius, forward_noise, noised
from model.schedule import sampling_times, signal_levels, time_embeddings

__all__ = ["Process"]


class Process(nn.Module):
    """Coefficients, statistics and the network.

    Args:
        config: the model's settings.
        conditions: number c of condition vectors.
        mu: per-coordinate mean of the training set's clean vectors, (d,) float32.
        sigma: their per-coordinate standard deviation, (d,) float32, positive.
    """

    mu: Tensor
    sigma: Tensor
    levels: Tensor
    times: Tensor

    def __init__(self, config: ModelConfig, conditions: int, *, mu: Tensor, sigma: Tensor) -> None:
        super().__init__()
        self.config = config.noise
        self.max_radius = config.encoder.max_radius
        self.register_buffer("mu", mu)
        self.register_buffer("sigma", sigma)
        # float64 until here; one cast. Functions of the settings, so not part of the weights.
        levels, every = signal_levels(config.noise), range(config.noise.timesteps + 1)
        times = time_embeddings(every, config.noise.timesteps, config.denoiser.time_dim)
        self.register_buffer("levels", torch.from_numpy(levels).float(), persistent=False)
        self.register_buffer("times", torch.from_numpy(times).float(), persistent=False)
        self.denoiser = Denoiser(config.encoder.dim, conditions, config.denoiser)

    def corrupt(self, clean: Tensor, anchor: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """z_t of the forward process: clean (b, d), t (b,) integers in 1..T, eps (b, d) standard normal."""
        return self._noised(clean, anchor, self.levels[t].unsqueeze(-1), eps)

    def predict(self, z_t: Tensor, anchor: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """The network's estimate of z_0: t (b,) integers in 1..T -> (b, d)."""
        correction: Tensor = self.denoiser(z_t / self.sigma, condition / self.sigma, self.times[t])
        return anchor + self.sigma * correction

    def reverse(self, anchor: Tensor, condition: Tensor, steps: int) -> Tensor:
        """Deterministic reverse process [2, eq. 12 with eta = 0] from the noised anchor: (b, d).

        Nothing is drawn: the start is the noise's own centre (eps = 0), a function of the request alone, so a
        request has the same answer whichever batch it is in.

        Raises:
            ValueError: unless 1 <= steps <= T.
        """
        times = sampling_times(self.config.timesteps, steps)
        z_t = self._noised(anchor, anchor, self.levels[times[0]], torch.zeros_like(anchor))
        z_0 = anchor
        for t, earlier in zip(times, [*times[1:], 0], strict=True):
            z_0 = self.predict(z_t, anchor, condition, torch.full((len(anchor),), t, device=anchor.device))
            ab, ab_earlier = self.levels[t], self.levels[earlier]
            noise = (z_t - ab.sqrt() * z_0) / (1 - ab).sqrt()
            z_t = ab_earlier.sqrt() * z_0 + (1 - ab_earlier).sqrt() * noise
            if self.config.radial:
                z_t = clamp_radius(z_t, limit=self.max_radius)
        return z_0

    def _noised(self, clean: Tensor, anchor: Tensor, level: Tensor, eps: Tensor) -> Tensor:
        noise = forward_noise(eps, anchor, self.mu, self.sigma, self.config)
        return noised(clean, noise, level, self.config, max_radius=self.max_radius)
