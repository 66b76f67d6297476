"""What the users' side has learned, as plain arrays: what training hands to answering.

Names and shapes are those of `model.diffusion.UserDiffusion`: its parameters and the statistics of the training set.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from model.config import ModelConfig

__all__ = ["Weights", "check_weights", "layer", "shapes"]

Float32 = npt.NDArray[np.float32]
Weights = Mapping[str, Float32]

PER_LAYER = 3  # modules of the network's body: the layer, what bends its output, dropout


def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Of every array that a model with these settings has, by name."""
    d, vectors = config.encoder.dim, config.vectors
    found: dict[str, tuple[int, ...]] = {"base_weights": (vectors,), "log_scale": (), "gate_logit": ()}

    def linear(name: str, inputs: int, outputs: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (outputs, inputs), (outputs,)

    if config.attention.length:
        heads, hidden = config.attention.heads, config.attention.hidden
        found["attention.by_age"] = (heads, config.attention.length)
        linear("attention.question", d, heads * d)
        linear("attention.answer", heads * d, d)
        linear("attention.first", d, hidden)
        linear("attention.second", hidden, d)
        linear("attention.head", d, d)
    conditions = {"item": vectors, "user": 1} if config.diffusion.networks == "both" else {"item": vectors}
    for process, told in conditions.items():
        found[f"{process}.mu"] = found[f"{process}.sigma"] = (d,)
        width = d * (1 + told) + config.denoiser.time_dim
        for number in range(config.denoiser.depth):
            linear(f"{process}.denoiser.body.{PER_LAYER * number}", width, config.denoiser.hidden)
            width = config.denoiser.hidden
        linear(f"{process}.denoiser.head", width, d)
    return found


def layer(weights: Weights, name: str) -> tuple[Float32, Float32]:
    """A linear layer's matrix, (inputs, outputs), and its bias, (outputs,)."""
    return weights[f"{name}.weight"].T, weights[f"{name}.bias"]


def check_weights(weights: Weights, config: ModelConfig) -> None:
    """Raise ValueError unless these are the arrays of a model with these settings, float32 and finite."""
    expected = shapes(config)
    if weights.keys() != expected.keys():
        odd = ", ".join(sorted(weights.keys() ^ expected.keys()))
        raise ValueError(f"weights: missing, or not of a model with these settings: {odd}")
    for name, values in weights.items():
        if values.dtype != np.float32 or values.shape != expected[name]:
            raise ValueError(f"{name}: got {values.dtype} {values.shape}, expected float32 {expected[name]}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name}: expected finite numbers")
