"""How near items are, in NumPy: float64 keys that decide, and float32 products that are cheap.

Every distance here rises with a *key* that is exact where items are near, and falls with a *product* of two vectors of
d + 1 coordinates, which one matrix multiplication gives for all pairs:

    hyperbolic   key cosh d - 1      product -cosh d, the Lorentz inner product: ascending distance, descending product
    euclidean    key |u - v|^2       product u.v - |v|^2 / 2

Symbols: u queries, v items, tangent vectors at the origin (..., d); r radii; K = 1, see model.geometry.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.space import SpaceName

__all__ = ["Metric", "metric"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

UNIT_ROUNDOFF = 2.0**-24  # of float32


class Metric(Protocol):
    """A distance between tangent vectors."""

    def key(self, u: Float64, v: Float64) -> Float64:
        """(..., d), (..., d) -> (...). Equal items have equal keys wherever they stand."""
        ...

    def distance(self, key: Float64) -> Float64:
        """The distance that a key stands for: (...) -> (...)."""
        ...

    def queries(self, u: Float64) -> Float32:
        """Coordinates of queries: (b, d) -> (b, d + 1)."""
        ...

    def items(self, v: Float64) -> Float32:
        """Coordinates of items: (n, d) -> (n, d + 1)."""
        ...

    def product(self, key: Float64, u: Float64) -> Float64:
        """The product of queries with items that have these keys: (b,), (b, d) -> (b,)."""
        ...

    def rounding(self, u: Float64, longest: float) -> Float64:
        """By how much float32 products of queries with items up to a radius are off at most: (b, d) -> (b,).

        Each coordinate is rounded once, and a sum of n products is off by at most gamma_n sum |x_i y_i|, in whatever
        order it is taken (Higham, Accuracy and Stability, 3.1): together (1 + e)^2 (1 + gamma_(d+1)) - 1 <= (d + 5) e
        of that sum, for e = 2^-24. The sum is at most cosh r_u cosh r_v + sinh r_u sinh r_v = cosh(r_u + r_v), or
        |u||v| + |v|^2 / 2 in flat space.
        """
        ...


def metric(name: SpaceName) -> Metric:
    """That of a space."""
    return _Hyperbolic() if name == "hyperbolic" else _Euclidean()


class _Hyperbolic:
    def key(self, u: Float64, v: Float64) -> Float64:
        """As `geometry.cosh_distance_minus_one`: a sum of two terms that are not negative."""
        r_u, r_v = _radius(u), _radius(v)
        apart = _unit(v, r_v)
        apart -= _unit(u, r_u)
        key: Float64 = 2 * np.square(np.sinh((r_u - r_v) / 2)) + np.sinh(r_u) * np.sinh(r_v) * _square(apart) / 2
        return key

    def distance(self, key: Float64) -> Float64:
        distance: Float64 = np.log1p(key + np.sqrt(key * (key + 2)))
        return distance

    def queries(self, u: Float64) -> Float32:
        r = _radius(u)[..., None]
        scale = np.divide(np.sinh(r), r, out=np.ones_like(r), where=r > 0)
        return np.concatenate((np.cosh(r), scale * u), axis=-1).astype(np.float32)

    def items(self, v: Float64) -> Float32:
        points = self.queries(v)
        points[..., 0] *= -1
        return points

    def product(self, key: Float64, u: Float64) -> Float64:
        return -1 - key

    def rounding(self, u: Float64, longest: float) -> Float64:
        return _steps(u) * np.cosh(_radius(u) + longest)


class _Euclidean:
    def key(self, u: Float64, v: Float64) -> Float64:
        return _square(v - u)

    def distance(self, key: Float64) -> Float64:
        distance: Float64 = np.sqrt(key)
        return distance

    def queries(self, u: Float64) -> Float32:
        return np.concatenate((np.ones((*u.shape[:-1], 1)), u), axis=-1).astype(np.float32)

    def items(self, v: Float64) -> Float32:
        return np.concatenate((-_square(v)[..., None] / 2, v), axis=-1).astype(np.float32)

    def product(self, key: Float64, u: Float64) -> Float64:
        return (_square(u) - key) / 2

    def rounding(self, u: Float64, longest: float) -> Float64:
        return _steps(u) * (_radius(u) * longest + longest**2 / 2) + np.finfo(np.float32).tiny


def _steps(u: Float64) -> float:
    return float(u.shape[-1] + 6) * UNIT_ROUNDOFF


def _square(v: Float64) -> Float64:
    # one vector at a time, so that it is the same wherever a vector stands
    square: Float64 = np.vecdot(v, v)
    return square


def _radius(v: Float64) -> Float64:
    radius: Float64 = np.sqrt(_square(v))
    return radius


def _unit(v: Float64, r: Float64) -> Float64:
    unit: Float64 = v / np.where(r > 0, r, 1.0)[..., None]
    return unit
