"""Distances in float64, and coordinates whose products rise and fall with them."""

import math

import numpy as np

from model.kernels.build import (
    Float32,
    Float64,
    Int64,
    boolean,
    compiled,
    f32_1r,
    f32_2,
    f32_2r,
    f64,
    f64_1,
    i64_1r,
    void,
)

__all__ = ["NONE", "distance", "keys", "lift", "lift_one", "radius"]

NONE = -1  # in place of an item


@compiled(fused=False, regrouped=True)
def _squared_distance(u: Float32, by_u: float, v: Float32, by_v: float) -> float:
    """|u by_u - v by_v|^2 in float64."""
    total = 0.0
    for j in range(len(v)):
        apart = np.float64(u[j]) * by_u - np.float64(v[j]) * by_v
        total += apart * apart
    return total


@compiled(fused=False, regrouped=True)
def radius(v: Float32) -> float:
    total = 0.0
    for j in range(len(v)):
        total += np.float64(v[j]) * np.float64(v[j])
    return math.sqrt(total)


@compiled(fused=False)
def _key(u: Float32, r_u: float, sinh_u: float, v: Float32, curved: bool) -> float:
    """What rises with the distance: cosh d - 1, as `geometry.cosh_distance_minus_one`, or its square in flat space."""
    if not curved:
        return _squared_distance(u, 1.0, v, 1.0)
    r_v = radius(v)
    apart = _squared_distance(u, 1 / r_u if r_u > 0 else 0.0, v, 1 / r_v if r_v > 0 else 0.0)
    half = math.sinh((r_u - r_v) / 2)
    return 2 * half * half + sinh_u * math.sinh(r_v) * apart / 2


@compiled(fused=False)
def distance(key: float, curved: bool) -> float:
    return math.log1p(key + math.sqrt(key * (key + 2))) if curved else math.sqrt(key)


@compiled(fused=False)
def lift_one(point: Float32, v: Float32, r: float, curved: bool, item: bool) -> None:
    """Set the d + 1 coordinates whose product with another's is minus what rises with the distance.

    cosh r, sinh r * direction for a query, and -cosh r in place of cosh r for an item; or 1, u and -|v|^2 / 2, v.
    """
    if curved:
        scale = math.sinh(r) / r if r > 0 else 1.0
        point[0] = -math.cosh(r) if item else math.cosh(r)
    else:
        scale = 1.0
        point[0] = -r * r / 2 if item else 1.0
    for j in range(len(v)):
        point[j + 1] = scale * v[j]


@compiled(f64, f32_2, f32_2r, boolean, boolean, fused=False)
def lift(points: Float32, vectors: Float32, curved: bool, item: bool) -> float:
    """Set the coordinates of many, see `lift_one`: (n, d + 1), (n, d); the greatest radius."""
    longest = 0.0
    for row in range(len(vectors)):
        r = radius(vectors[row])
        longest = max(longest, r)
        lift_one(points[row], vectors[row], r, curved, item)
    return longest


@compiled(void, f64_1, f32_1r, f32_2r, i64_1r, boolean, fused=False)
def keys(found: Float64, query: Float32, vectors: Float32, candidates: Int64, curved: bool) -> None:
    """Set the keys of candidates, see `_key`: (m,), (d,), (n, d), (m,); that of -1 is infinite.

    Raises:
        IndexError: a candidate that has no vector.
    """
    r = radius(query)
    sinh = math.sinh(r)
    for place in range(len(candidates)):
        item = candidates[place]
        if not NONE <= item < len(vectors):
            raise IndexError("a candidate has no vector")
        found[place] = _key(query, r, sinh, vectors[item], curved) if item >= 0 else np.inf
