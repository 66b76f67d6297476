"""The users' side of the model in the form that answers requests: from conditions to vectors in two compiled calls.

It computes what `model.diffusion.UserDiffusion.forward` computes, to float32 rounding and without torch. What does not
depend on the user is worked out beforehand: the condition's part of the first layer, which is the same at every step;
the time embedding's; the standardisation, which is folded into the weights; the coefficients of each step.

Symbols as in model.process and model.kernels.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model import kernels
from model.aligned import aligned
from model.config import ModelConfig
from model.schedule import sampling_times, signal_levels, time_embeddings
from model.weights import PER_LAYER, Weights, layer

__all__ = ["CompiledDiffusion"]

Float32 = npt.NDArray[np.float32]


class CompiledDiffusion:
    """A diffusion with a fixed number of reverse steps, on one thread.

    A user's vector is the same in any batch, bit for bit.

    Args:
        config: the model's settings.
        weights: what was learned.
        steps: reverse steps, 0 to T.

    Raises:
        ValueError: steps outside that range.
    """

    def __init__(self, config: ModelConfig, weights: Weights, steps: int) -> None:
        means, base = config.vectors, weights["base_weights"]
        gate = config.diffusion.gate
        share = 1 / (1 + np.exp(-float(weights["gate_logit"]))) if gate == "learned" else gate
        self._dim = config.encoder.dim
        self._base_weights = aligned(base)
        self._mixing = float(share), float(np.exp(weights["log_scale"])), config.encoder.max_radius
        self._reverses: list[_Reverse] = []
        if steps and config.diffusion.networks == "item":
            self._reverses = [_reverse(config, weights, "item", base, slice(0, means), means, steps)]
        elif steps:
            newest = np.eye(means + 1)[-1]
            self._reverses = [
                _reverse(config, weights, "item", newest, slice(0, means), means + 1, steps),
                _reverse(config, weights, "user", base, slice(means, means + 1), means + 1, steps),
            ]

    def __call__(self, condition: Float32) -> Float32:
        """(b, c, d) float32, contiguous -> (b, d) float32."""
        b, c, d = condition.shape
        flat = condition.reshape(b, c * d)
        denoised = np.empty((len(self._reverses), b, d), np.float32)
        for z_0, reverse in zip(denoised, self._reverses, strict=True):
            kernels.denoise(z_0, flat, *reverse)
        users = np.empty((b, d), np.float32)
        kernels.mix(users, flat, self._base_weights, denoised, *self._mixing)
        return users


class _Reverse(NamedTuple):
    """What `kernels.denoise` takes."""

    anchor_weights: Float32
    noise: Float32
    start: float
    kept: Float32
    taken: Float32
    limit: float
    of_condition: Float32
    of_z: Float32
    biases: Float32
    deeper: Float32
    deeper_biases: Float32
    head: Float32
    head_bias: Float32


def _reverse(
    config: ModelConfig,
    weights: Weights,
    name: str,
    anchor_weights: npt.ArrayLike,
    given: slice,
    conditions: int,
    steps: int,
) -> _Reverse:
    """`Process.reverse`; `given` says which of all the condition's vectors the network is told."""
    noise, network = config.noise, config.denoiser
    mu, sigma = (weights[f"{name}.{what}"].astype(np.float64) for what in ("mu", "sigma"))
    (first, bias), *deeper = (
        layer(weights, f"{name}.denoiser.body.{PER_LAYER * number}") for number in range(network.depth)
    )
    head, head_bias = layer(weights, f"{name}.denoiser.head")
    dim, n_given = len(sigma), given.stop - given.start
    # z_t, the condition's vectors and the time are rows of the first layer's matrix, one after the other
    of_z, of_condition, of_time = np.split(first.astype(np.float64), [dim, dim + n_given * dim])
    of_all = np.zeros((conditions, dim, network.hidden))
    of_all[given] = of_condition.reshape(n_given, dim, network.hidden) / sigma[:, None]
    times = sampling_times(noise.timesteps, steps)
    biases = time_embeddings(times, noise.timesteps, network.time_dim) @ of_time + bias
    levels = signal_levels(noise)[times]
    # z_0 and the noise it implies, at the earlier level
    kept = np.sqrt((1 - levels[1:]) / (1 - levels[:-1]))
    taken = np.sqrt(levels[1:]) - kept * np.sqrt(levels[:-1])
    # of other kinds there is no noise at eps = 0; this never leaves the anchor's side
    start_noise = np.sqrt(1 - levels[0]) * np.abs(mu) if noise.kind == "directional" else np.zeros(dim)
    combined = np.zeros(conditions)
    anchor = np.asarray(anchor_weights)
    combined[: len(anchor)] = anchor
    return _Reverse(
        anchor_weights=aligned(combined),
        noise=aligned(start_noise),
        start=float(np.sqrt(levels[0])),
        kept=aligned(kept),
        taken=aligned(taken),
        limit=config.encoder.max_radius if noise.radial else float("inf"),
        of_condition=aligned(of_all.reshape(-1, network.hidden)),
        of_z=aligned(of_z / sigma[:, None]),
        biases=aligned(biases),
        deeper=aligned(np.array([matrix for matrix, _ in deeper]).reshape(-1, network.hidden, network.hidden)),
        deeper_biases=aligned(np.array([biases for _, biases in deeper]).reshape(-1, network.hidden)),
        head=aligned(head * sigma),
        head_bias=aligned(head_bias * sigma),
    )
