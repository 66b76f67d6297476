"""The forward process: noise, and in which directions; how much at each time is `model.schedule`'s.

Symbols: ab_t the share of signal (alpha bar) at time t; z clean tangent vectors (b, d); anchor the estimate of z
that is known when serving (b, d); mu, sigma per-coordinate statistics of the training set (d,); eps ~ N(0, I).
References
    [1] HDRM, WWW 2025, arXiv 2504.01541
    [2] Yi et al., Directional Diffusion Models for Graph Representation Learning, NeurIPS 2023
    [3] Fu et al., HypDiff: Hyperbolic Geometric Latent Diffusion Model for Graph Generation, ICML 2024
"""

import torch
from torch import Tensor

from model.config import NoiseConfig
from model.geometry import radius

__all__ = ["clamp_radius", "forward_noise", "noised"]


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
