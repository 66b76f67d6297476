"""The diffusion's condition at request time: means of the histories' messages, and what comes next by the newest.

The same as `model.diffusion.UserDiffusion.condition`, which training differentiates, but by loops of machine code that
take weights from tables.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from model import kernels
from model.aligned import aligned
from model.config import UNIFORM, HalfLife, ModelConfig
from model.history import Histories
from model.weights import Weights, layer

__all__ = ["ConditionGather"]

Float32 = npt.NDArray[np.float32]


class ConditionGather:
    """Makes conditions; c of them a user, see `model.diffusion.UserDiffusion.condition`.

    A user's are the same in any batch, bit for bit.

    Args:
        config: the model's settings.
        weights: what was learned.
        items: items' tangent vectors, (m, d) float32.
        messages: items' messages, (m, d) float32.
    """

    def __init__(self, config: ModelConfig, weights: Weights, items: Float32, messages: Float32) -> None:
        longest = config.history.max_length
        self._parts: list[_Part] = [_Means(config.history.half_lives, longest, messages)]
        if config.attention.length:
            self._parts.append(_Attended(weights, items))
        if config.diffusion.networks == "both":
            self._parts.append(_Means((UNIFORM,), longest, items))
        self._shape = sum(len(part) for part in self._parts), items.shape[1]

    def __call__(self, histories: Histories) -> Float32:
        """(b, c, d) float32; an empty history gives zeros."""
        conditions, place = np.empty((len(histories), *self._shape), np.float32), 0
        for part in self._parts:
            part.write(conditions, place, histories)
            place += len(part)
        return conditions


class _Part(Protocol):
    """Some of the condition's vectors."""

    def __len__(self) -> int: ...

    def write(self, conditions: Float32, place: int, histories: Histories) -> None:
        """Set those of all rows: (b, c, d), from the given place on."""
        ...


class _Means:
    """Weighted means of vectors, under weights that fall with age.

    Args:
        half_lives: h of them.
        longest: items in a row at most.
        vectors: (m, d) float32.
    """

    def __init__(self, half_lives: tuple[HalfLife, ...], longest: int, vectors: Float32) -> None:
        self._vectors = vectors
        rates = np.array([np.inf if half_life == UNIFORM else half_life for half_life in half_lives], np.float64)
        weights = np.exp2(-np.arange(longest) / rates[:, None])
        # oldest first, as histories are: the weights of a row are the last ones
        self._weights = weights[:, ::-1].astype(np.float32, order="C")
        # what makes a row of so many items a mean
        self._scales = (1 / np.cumsum(weights, axis=1)).astype(np.float32).T.copy()

    def __len__(self) -> int:
        return len(self._weights)

    def write(self, conditions: Float32, place: int, histories: Histories) -> None:
        kernels.mean_rows(
            conditions, place, histories.indptr, histories.items, self._vectors, self._weights, self._scales
        )


class _Attended:
    """What comes next by the newest items.

    Args:
        weights: what was learned.
        vectors: items' own, (m, d) float32.
    """

    def __init__(self, weights: Weights, vectors: Float32) -> None:
        self._vectors = vectors
        self._statistics = np.empty((len(vectors), 2), np.float32)
        kernels.normalising(self._statistics, vectors)
        scale = vectors.shape[1] ** -0.5
        matrix, bias = layer(weights, "attention.question")
        self._question = aligned(matrix * scale), aligned(bias * scale), aligned(weights["attention.by_age"])
        names = ("answer", "first", "second", "head")
        self._layers = [aligned(part) for name in names for part in layer(weights, f"attention.{name}")]

    def __len__(self) -> int:
        return 1

    def write(self, conditions: Float32, place: int, histories: Histories) -> None:
        kernels.attend(
            conditions,
            place,
            histories.indptr,
            histories.items,
            self._vectors,
            self._statistics,
            *self._question,
            *self._layers,
        )
