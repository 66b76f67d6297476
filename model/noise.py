"""The forward process: how much noise at each time, and in which directions.

Symbols: t in 1..T, ab_t the share of signal (alpha bar); z clean tangent vectors (b, d); anchor the estimate of z
that is known when serving (b, d); mu, sigma per-coordinate statistics of the training set (d,); eps ~ N(0, I).
References
    [1] HDRM, WWW 2025, arXiv 2504.01541
    [2] Yi et al., Directional Diffusion Models for Graph Representation Learning, NeurIPS 2023
    [3] Fu et al., HypDiff: Hyperbolic Geometric Latent Diffusion Model for Graph Generation, ICML 2024
"""

import numpy as np
import torch
from torch import Tensor

from model.config import NoiseConfig
from model.geometry import radius

__all__ = ["clamp_radius", "forward_noise", "noised", "sampling_times", "signal_levels"]


def signal_levels(config: NoiseConfig) -> Tensor:
    """ab_t for t = 0..T as (T+1,) float64, with ab_0 = 1; linear in the log signal-to-noise ratio."""
    first, last = (np.log(a / (1 - a)) for a in (config.alpha_bar_first, config.alpha_bar_last))
    log_snr = np.linspace(first, last, config.timesteps)
    return torch.from_numpy(np.concatenate(([1.0], 1 / (1 + np.exp(-log_snr)))))


def sampling_times(timesteps: int, steps: int) -> list[int]:
    """The times visited by the reverse process: `steps` integers falling from T, evenly spaced, the last >= 1.

    Raises:
        ValueError: unless 1 <= steps <= timesteps.
    """
    if not 1 <= steps <= timesteps:
        raise ValueError(f"steps: got {steps}, expected 1 to {timesteps} (the length of the forward process)")
    return [int(t) for t in np.ceil(np.linspace(timesteps, 0, steps + 1)[:-1])]


def forward_noise(eps: Tensor, anchor: Tensor, mu: Tensor, sigma: Tensor, config: NoiseConfig) -> Tensor:
    """Shape standard normal noise as the config says: (b, d) -> (b, d).

    directional: sgn(anchor) * |mu + sigma * eps| [2, eq. 5, with the sign of an estimate in place of the target's,
    which no one knows at serving time]; isotropic: the same power, mean square over coordinates, in every
    direction; none: nothing. angular then turns a noise vector that points away from the anchor around [1, 3].
    """
    if config.kind == "none":
        return torch.zeros_like(eps)
    if config.kind == "directional":
        noise = torch.sign(anchor) * (mu + sigma * eps).abs()
    else:
        noise = eps * (mu.square() + sigma.square()).mean().sqrt()
    if config.angular:
        side = (noise * anchor).sum(-1, keepdim=True)
        noise = torch.where(side < 0, -noise, noise)
    return noise


def noised(clean: Tensor, noise: Tensor, level: Tensor, config: NoiseConfig, *, max_radius: float) -> Tensor:
    """z_t = sqrt(ab_t) z_0 + sqrt(1 - ab_t) e, radius clamped if the config is radial: (b, d).

    `level` is ab_t, broadcastable to (b, 1).
    """
    z = level.sqrt() * clean + (1 - level).sqrt() * noise
    return clamp_radius(z, limit=max_radius) if config.radial else z


def clamp_radius(v: Tensor, *, limit: float) -> Tensor:
    """Shorten vectors longer than `limit` to it: (..., d) -> (..., d)."""
    return v * (limit / radius(v).clamp_min(limit))
