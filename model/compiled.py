"""The users' side of the model in the form that answers requests: from conditions to vectors in two compiled calls.

It computes what `model.diffusion.UserDiffusion.forward` computes, to float32 rounding, with everything that does not
depend on the user worked out beforehand: the condition's part of the first layer, which is the same at every step;
the time embedding's; the standardisation, which is folded into the weights; the coefficients of each step.

Symbols as in model.process and model.kernels.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from model import kernels
from model.denoiser import time_embedding
from model.diffusion import UserDiffusion
from model.noise import sampling_times
from model.process import Process

__all__ = ["CompiledDiffusion"]

Float32 = npt.NDArray[np.float32]


class CompiledDiffusion:
    """A diffusion with a fixed number of reverse steps, on one thread.

    A user's vector is the same in any batch, bit for bit.

    Args:
        diffusion: the trained modules, on the CPU.
        steps: reverse steps, 0 to T.

    Raises:
        ValueError: steps outside that range.
    """

    @torch.inference_mode()
    def __init__(self, diffusion: UserDiffusion, steps: int) -> None:
        means = diffusion.config.vectors
        base = diffusion.base_weights
        self._dim = diffusion.config.encoder.dim
        self._base_weights = _array(base)
        self._mixing = float(diffusion.gate), float(diffusion.log_scale.exp()), diffusion.config.encoder.max_radius
        self._reverses: list[_Reverse] = []
        if steps and diffusion.user is None:
            self._reverses = [_reverse(diffusion.item, base, slice(0, means), means, steps)]
        elif steps and diffusion.user is not None:
            newest = torch.eye(means + 1)[-1]
            self._reverses = [
                _reverse(diffusion.item, newest, slice(0, means), means + 1, steps),
                _reverse(diffusion.user, base, slice(means, means + 1), means + 1, steps),
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


def _reverse(process: Process, anchor_weights: Tensor, given: slice, conditions: int, steps: int) -> _Reverse:
    """`Process.reverse`; `given` says which of all the condition's vectors the network is told."""
    config, network, sigma = process.config, process.denoiser, process.sigma
    first, *deeper = [layer for layer in network.body if isinstance(layer, nn.Linear)]
    dim, hidden = len(sigma), first.out_features
    n_given = given.stop - given.start
    # z_t, the condition's vectors and the time are columns of the first layer's weight, one after the other
    of_z, of_condition, of_time = torch.split(first.weight.double(), [dim, n_given * dim, network.time_dim], dim=1)
    of_all = torch.zeros(conditions, dim, hidden, dtype=torch.float64)
    of_all[given] = of_condition.T.reshape(n_given, dim, hidden) / sigma[:, None]
    times = torch.tensor(sampling_times(config.timesteps, steps))
    embedded = time_embedding(times / config.timesteps, network.time_dim)
    biases = embedded.double() @ of_time.T + first.bias
    levels = process.levels.double()[times]
    # z_0 and the noise it implies, at the earlier level
    kept = ((1 - levels[1:]) / (1 - levels[:-1])).sqrt()
    taken = levels[1:].sqrt() - kept * levels[:-1].sqrt()
    # of other kinds there is no noise at eps = 0; this never leaves the anchor's side
    noise = (1 - levels[0]).sqrt() * process.mu.abs() if config.kind == "directional" else torch.zeros(dim)
    weights = torch.zeros(conditions)
    weights[: len(anchor_weights)] = anchor_weights
    return _Reverse(
        anchor_weights=_array(weights),
        noise=_array(noise),
        start=float(levels[0].sqrt()),
        kept=_array(kept),
        taken=_array(taken),
        limit=process.max_radius if config.radial else float("inf"),
        of_condition=_array(of_all.flatten(0, 1)),
        of_z=_array((of_z / sigma).T),
        biases=_array(biases),
        deeper=_array(torch.stack([layer.weight.T for layer in deeper]) if deeper else torch.zeros(0, hidden, hidden)),
        deeper_biases=_array(torch.stack([layer.bias for layer in deeper]) if deeper else torch.zeros(0, hidden)),
        head=_array(network.head.weight.T * sigma),
        head_bias=_array(network.head.bias * sigma),
    )


def _array(values: Tensor) -> Float32:
    """Contiguous, and independent of the tensor."""
    return np.array(values.float().numpy(), order="C")
