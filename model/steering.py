"""Moving what is asked for: the middle of a group, and a turn away from what is disliked.

Tangent vectors at the origin in, tangent vectors at the origin out, computed in float64 for one query at a time, so
that an answer does not depend on its batch.

Reference
    [1] Law et al., Lorentzian Distance Learning for Hyperbolic Representations, ICML 2019
"""

import numpy as np
import numpy.typing as npt

__all__ = ["centroid", "turned"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

NEAR = 1e-9  # lengths below it have no direction


def centroid(vectors: Float32, *, curved: bool) -> Float32:
    """Lorentz centroid S / sqrt(-<S, S>) of n points, which minimises the sum of cosh d [1, theorem 3.3]; in flat
    space the mean.

    Shapes: (n, d) -> (d,), n at least 1.
    """
    if len(vectors) == 1:
        one: Float32 = vectors[0]
        return one
    if not curved:
        return _float32(vectors.mean(0, dtype=np.float64))
    total = _points(vectors).sum(0)
    return _float32(_tangent(total / np.sqrt(-_inner(total, total))))


def turned(vector: Float32, away: Float32, *, by: float) -> Float32:
    """A tangent vector less `by` times the mean of others, brought back to its own radius.

    The radius, how special a taste is, stays; the direction turns away. By the hyperbolic law of cosines the distance
    to a single one grows with the angle. A step along the geodesic away from it would mostly change the radius, and
    with it the distances of all items alike: the order would hardly change.

    Shapes: (d,), (n, d) -> (d,), n at least 1.
    """
    v = vector.astype(np.float64)
    rest = v - by * away.mean(0, dtype=np.float64)
    length = np.sqrt(np.vecdot(rest, rest))
    return vector if length < NEAR else _float32(rest * (np.sqrt(np.vecdot(v, v)) / length))


def _points(vectors: Float32) -> Float64:
    """(n, d) -> (n, d + 1)."""
    v = vectors.astype(np.float64)
    r = np.sqrt(np.vecdot(v, v))[:, None]
    return np.concatenate((np.cosh(r), v * np.sinh(r) / np.maximum(r, NEAR)), axis=1)


def _tangent(x: Float64) -> Float64:
    """(d + 1,) -> (d,), the inverse."""
    s = np.sqrt(np.vecdot(x[1:], x[1:]))
    scale = np.arcsinh(s) / s if s > NEAR else 1.0
    tangent: Float64 = x[1:] * scale
    return tangent


def _inner(x: Float64, y: Float64) -> Float64:
    """Lorentz inner products: (..., d + 1), (..., d + 1) -> (...)."""
    product = x * y
    inner: Float64 = product[..., 1:].sum(-1) - product[..., 0]
    return inner


def _float32(x: Float64) -> Float32:
    return x.astype(np.float32)
