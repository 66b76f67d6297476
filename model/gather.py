"""The diffusion's condition at request time: means of the histories' messages, by one gather for a whole batch.

The same as `model.history.history_vectors`, which training differentiates, but with weights from tables and without
work in Python that grows with the batch. A row's sums are taken in its own order, so they are the same in any batch.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import UNIFORM, ModelConfig
from model.history import Histories

__all__ = ["ConditionGather"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


class ConditionGather:
    """Makes conditions; c of them a user, see `model.diffusion.UserDiffusion.condition`.

    Args:
        config: the model's settings.
        items: items' tangent vectors, (m, d) float32.
        messages: items' messages, (s, m, d) float32.
    """

    def __init__(self, config: ModelConfig, items: Tensor, messages: Tensor) -> None:
        longest = config.history.max_length
        self._longest = longest
        half_lives = (config.history.half_lives, config.history.follower_half_lives)[: config.history.kinds]
        self._means = [_Means(_weights(lives, longest), kind) for lives, kind in zip(half_lives, messages, strict=True)]
        if config.diffusion.networks == "both":
            self._means.append(_Means(_weights((UNIFORM,), longest), items))

    def __call__(self, histories: Histories) -> Float32:
        """(b, c, d) float32; an empty history gives zeros."""
        newest = histories.last(self._longest)
        parts = [means(newest) for means in self._means]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


class _Means:
    """Weighted means of rows' vectors under h sets of weights.

    Args:
        weights: of an item by its age, (h, longest) float64.
        vectors: (m, d) float32.
    """

    def __init__(self, weights: Float64, vectors: Tensor) -> None:
        self._vectors = vectors
        self._weights = weights.astype(np.float32)
        totals = np.cumsum(weights, axis=1)
        # the factor that makes a row of so many items a mean; an empty row stays zero
        self._scales = np.concatenate((np.zeros((len(weights), 1)), 1 / totals), axis=1).astype(np.float32)

    def __call__(self, histories: Histories) -> Float32:
        """(b, h, d)."""
        h, nnz, lengths = len(self._weights), len(histories.items), histories.lengths
        # a bag for every set of weights and every row, the sets one after the other
        starts = (np.arange(h)[:, None] * nnz + histories.indptr[:-1]).reshape(-1)
        sums = torch.nn.functional.embedding_bag(
            torch.from_numpy(np.tile(histories.items, h).astype(np.int64, copy=False)),
            self._vectors,
            torch.from_numpy(starts),
            mode="sum",
            per_sample_weights=torch.from_numpy(self._weights[:, histories.ages()].reshape(-1)),
        )
        means: Float32 = (
            sums.numpy().reshape(h, len(histories), self._vectors.shape[1]) * self._scales[:, lengths, None]
        )
        return np.ascontiguousarray(means.transpose(1, 0, 2))


def _weights(half_lives: tuple[float | str, ...], longest: int) -> Float64:
    """2^(-age / half-life) for ages from 0, or 1: (h, longest)."""
    rates = np.array([np.inf if half_life == UNIFORM else half_life for half_life in half_lives], np.float64)
    weights: Float64 = np.exp2(-np.arange(longest) / rates[:, None])
    return weights
