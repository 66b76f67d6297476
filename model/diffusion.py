"""Stage 2: directional, geometrically restricted diffusion of a user's vector, conditioned on their history.

A user is a function of their history alone, so people never seen in training, and events a second old, are
served by the same function as everyone else. The condition c is the recency-weighted means of the history's
item messages (model.history); the clean vector z_0 is the mean message of the items the user takes up next.

z_0 is unknown when serving, so the process starts from the noised base estimate of it. Training noises what the
reverse process visits, the base estimate and the network's own first prediction, never the truth itself: a
network trained on noised truths learns to copy it at low noise and fails on its own predictions.

Symbols: b users, h half-lives, d coordinates; z_t (b, d); c (b, h, d); ab_t share of signal at time t.
References
    [1] HDRM, WWW 2025, arXiv 2504.01541
    [2] Song et al., Denoising Diffusion Implicit Models, ICLR 2021
"""

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.denoiser import Denoiser
from model.geometry import cap_radius
from model.noise import clamp_radius, forward_noise, noised, sampling_times, signal_levels

__all__ = ["UserDiffusion"]


class UserDiffusion(nn.Module):
    """Coefficients, statistics and the two learned parts: the base estimate of z_0 and the denoiser.

    Args:
        config: the model's settings.
        mu: per-coordinate mean of the training set's clean vectors, (d,) float32.
        sigma: their per-coordinate standard deviation, (d,) float32, positive.
    """

    mu: Tensor
    sigma: Tensor
    levels: Tensor

    def __init__(self, config: ModelConfig, *, mu: Tensor, sigma: Tensor) -> None:
        super().__init__()
        self.config = config
        half_lives = len(config.history.half_lives)
        self.register_buffer("mu", mu)
        self.register_buffer("sigma", sigma)
        # float64 until here; one cast. A function of the settings, so not part of the weights.
        self.register_buffer("levels", signal_levels(config.noise).float(), persistent=False)
        self.base_weights = nn.Parameter(torch.full((half_lives,), 1.0 / half_lives))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.gate_logit = nn.Parameter(torch.zeros(()))
        self.denoiser = Denoiser(config.encoder.dim, half_lives, config.denoiser)

    @property
    def gate(self) -> Tensor:
        """Weight of the denoised vector against the base estimate in the user's vector, in (0, 1)."""
        return torch.sigmoid(self.gate_logit)

    def base(self, condition: Tensor) -> Tensor:
        """The estimate of z_0 that needs no diffusion: a learned combination of c: (b, h, d) -> (b, d)."""
        return torch.einsum("bhd,h->bd", condition, self.base_weights)

    def corrupt(self, clean: Tensor, condition: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """z_t of the forward process: clean (b, d), t (b,) integers in 1..T, eps (b, d) standard normal."""
        return self._noised(clean, self.base(condition), self.levels[t].unsqueeze(-1), eps)

    def predict(self, z_t: Tensor, condition: Tensor, t: Tensor) -> Tensor:
        """The network's estimate of z_0: t (b,) integers in 1..T -> (b, d)."""
        time = t.to(z_t) / self.config.noise.timesteps
        correction: Tensor = self.denoiser(z_t / self.sigma, condition / self.sigma, time)
        return self.base(condition) + self.sigma * correction

    def user(self, base: Tensor, denoised: Tensor | None) -> Tensor:
        """The user's tangent vector, in the space items are ranked in: (b, d).

        `denoised` None leaves the diffusion out (zero reverse steps).
        """
        mixed = base if denoised is None else torch.lerp(base, denoised, self.gate)
        return cap_radius(mixed * self.log_scale.exp(), limit=self.config.encoder.max_radius)

    def reverse(self, condition: Tensor, steps: int) -> Tensor:
        """Deterministic reverse process [2, eq. 12 with eta = 0] from the noised base estimate: (b, d).

        Nothing is drawn: the start is the noise's own centre (eps = 0), a function of the condition alone, so
        a request has the same answer whichever batch it is in.

        Raises:
            ValueError: unless 1 <= steps <= T.
        """
        times = sampling_times(self.config.noise.timesteps, steps)
        base = self.base(condition)
        z_t = self._noised(base, base, self.levels[times[0]], torch.zeros_like(base))
        z_0 = base
        for t, earlier in zip(times, [*times[1:], 0], strict=True):
            z_0 = self.predict(z_t, condition, torch.full((len(base),), t, device=base.device))
            ab, ab_earlier = self.levels[t], self.levels[earlier]
            noise = (z_t - ab.sqrt() * z_0) / (1 - ab).sqrt()
            z_t = ab_earlier.sqrt() * z_0 + (1 - ab_earlier).sqrt() * noise
            if self.config.noise.radial:
                z_t = clamp_radius(z_t, limit=self.config.encoder.max_radius)
        return z_0

    def forward(self, condition: Tensor, steps: int) -> Tensor:
        """From history vectors to the user's tangent vector: (b, h, d) -> (b, d); steps 0..T."""
        return self.user(self.base(condition), self.reverse(condition, steps) if steps else None)

    def _noised(self, clean: Tensor, base: Tensor, level: Tensor, eps: Tensor) -> Tensor:
        noise = forward_noise(eps, base, self.mu, self.sigma, self.config.noise)
        return noised(clean, noise, level, self.config.noise, max_radius=self.config.encoder.max_radius)
