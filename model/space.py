"""The geometry that users and items are compared in: hyperbolic, or flat to see what the curvature is worth.

Vectors are the same in both, tangent vectors at the origin; what differs is the distance between two of them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from model.config import SpaceName
from model.geometry import pairwise_square_distance, square_distance

__all__ = ["Space", "space"]

Binary = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Space:
    """How far two tangent vectors are apart, for training; what ranks items is `model.retrieval.metric`.

    Attributes:
        pairwise_square: squared distances of all pairs, for training: (b, d), (n, d) -> (b, n).
        square: squared distances elementwise, for training: (..., d), (..., d) -> (...).
    """

    pairwise_square: Binary
    square: Binary


def space(name: SpaceName) -> Space:
    """The space of that name."""
    if name == "hyperbolic":
        return Space(pairwise_square_distance, square_distance)
    return Space(_flat_pairwise_square, _flat_square)


def _flat_square(u: Tensor, v: Tensor) -> Tensor:
    return (u - v).square().sum(-1)


def _flat_pairwise_square(u: Tensor, v: Tensor) -> Tensor:
    squares = u.square().sum(-1, keepdim=True) + v.square().sum(-1) - 2 * (u @ v.mT)
    return squares.clamp_min(0.0)
