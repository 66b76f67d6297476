"""The diffusion's condition at request time: means of the histories' messages.

The same as `model.history.history_vectors`, which training differentiates, but with weights from tables.
"""

import numpy as np
import numpy.typing as npt
from torch import Tensor

from model import kernels
from model.config import UNIFORM, HalfLife, ModelConfig
from model.history import Histories

__all__ = ["ConditionGather"]

Float32 = npt.NDArray[np.float32]


class ConditionGather:
    """Makes conditions; c of them a user, see `model.diffusion.UserDiffusion.condition`.

    A user's are the same in any batch, bit for bit.

    Args:
        config: the model's settings.
        items: items' tangent vectors, (m, d) float32.
        messages: items' messages, (s, m, d) float32.
    """

    def __init__(self, config: ModelConfig, items: Tensor, messages: Tensor) -> None:
        longest = config.history.max_length
        half_lives = (config.history.half_lives, config.history.follower_half_lives)[: config.history.kinds]
        self._means = [_Means(lives, longest, kind) for lives, kind in zip(half_lives, messages, strict=True)]
        if config.diffusion.networks == "both":
            self._means.append(_Means((UNIFORM,), longest, items))
        self._shape = sum(len(means) for means in self._means), items.shape[1]

    def __call__(self, histories: Histories) -> Float32:
        """(b, c, d) float32; an empty history gives zeros."""
        conditions, place = np.empty((len(histories), *self._shape), np.float32), 0
        for means in self._means:
            means.write(conditions, place, histories)
            place += len(means)
        return conditions


class _Means:
    """Weighted means of vectors, under weights that fall with age.

    Args:
        half_lives: h of them.
        longest: items in a row at most.
        vectors: (m, d) float32.
    """

    def __init__(self, half_lives: tuple[HalfLife, ...], longest: int, vectors: Tensor) -> None:
        self._vectors = vectors.numpy()
        rates = np.array([np.inf if half_life == UNIFORM else half_life for half_life in half_lives], np.float64)
        weights = np.exp2(-np.arange(longest) / rates[:, None])
        # oldest first, as histories are: the weights of a row are the last ones
        self._weights = weights[:, ::-1].astype(np.float32, order="C")
        # what makes a row of so many items a mean
        self._scales = (1 / np.cumsum(weights, axis=1)).astype(np.float32).T.copy()

    def __len__(self) -> int:
        return len(self._weights)

    def write(self, conditions: Float32, place: int, histories: Histories) -> None:
        """Set the means of all rows: (b, c, d), from the given place on."""
        kernels.mean_rows(
            conditions, place, histories.indptr, histories.items, self._vectors, self._weights, self._scales
        )
