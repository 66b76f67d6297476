"""Lorentz-model geometry, curvature -1: maps, distances and centroids as pure functions.

Conventions
    signature   <x, y>_L = -x[0] y[0] + x[1] y[1] + ... + x[d] y[d], the time coordinate first
    manifold    H^d = {x in R^(d+1) : <x, x>_L = -1, x[0] > 0}
    origin      o = (1, 0, ..., 0)
    tangent     a tangent vector at o is stored as its d space coordinates; its Euclidean norm is the
                distance of its point to o, called the radius
    axis        coordinates are always the last axis; everything before it is batch
Symbols: x, y points (..., d+1); u, v tangent vectors at o (..., d).
References
    [1] Nickel and Kiela, Learning Continuous Hierarchies in the Lorentz Model, ICML 2018
    [2] Law et al., Lorentzian Distance Learning for Hyperbolic Representations, ICML 2019

These are closed forms in terms of tangent vectors, because geoopt 0.5.1, whose manifold and optimiser train the
embeddings (model.manifold), loses precision exactly where ranking needs it: near points in float32. The tests hold
them against geoopt in float64.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = [
    "arcosh1p",
    "cap_radius",
    "centroid",
    "cosh_distance_minus_one",
    "distance",
    "exp0",
    "inner",
    "log0",
    "pairwise_square_distance",
    "radius",
    "square_distance",
]


FLOOR = 1e-6  # of cosh d - 1
FLOORED_SINH = (FLOOR * (FLOOR + 2)) ** 0.5 * (1 + 1e-6)


def radius(v: Tensor) -> Tensor:
    """Distance of exp0(v) to the origin: (..., d) -> (..., 1)."""
    norm: Tensor = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return norm


def exp0(v: Tensor) -> Tensor:
    """Exponential map at the origin, (cosh|v|, sinh|v| v/|v|) [1, eq. 9]: (..., d) -> (..., d+1)."""
    r = radius(v)
    return torch.cat((torch.cosh(r), v * _sinhc(r)), dim=-1)


def log0(x: Tensor) -> Tensor:
    """Logarithmic map at the origin, the inverse of exp0: (..., d+1) -> (..., d).

    The radius is arsinh|x_space|, which unlike arcosh(x[0]) keeps full precision near the origin.
    """
    space = x[..., 1:]
    s = torch.linalg.vector_norm(space, dim=-1, keepdim=True)
    tiny = s < torch.finfo(x.dtype).tiny ** 0.5
    safe = torch.where(tiny, torch.ones_like(s), s)
    return space * torch.where(tiny, torch.ones_like(s), torch.asinh(safe) / safe)


def inner(x: Tensor, y: Tensor) -> Tensor:
    """Lorentz inner product of points or ambient vectors: (..., d+1), (..., d+1) -> (...)."""
    product = x * y
    return product[..., 1:].sum(-1) - product[..., 0]


def cosh_distance_minus_one(u: Tensor, v: Tensor) -> Tensor:
    """cosh(d(exp0 u, exp0 v)) - 1, elementwise: (..., d), (..., d) -> (...).

    2 sinh^2((r_u - r_v) / 2) + sinh r_u sinh r_v |u^ - v^|^2 / 2 with unit directions u^, v^: a sum of
    non-negative terms, so nothing cancels and near points keep their order in float32.
    """
    r_u, r_v = radius(u), radius(v)
    u_hat, v_hat = _unit(u, r_u), _unit(v, r_v)
    radial = 2 * _sinh((r_u - r_v) / 2).square().squeeze(-1)
    angular = (_sinh(r_u) * _sinh(r_v)).squeeze(-1) * (u_hat - v_hat).square().sum(-1) / 2
    return radial + angular


def arcosh1p(y: Tensor) -> Tensor:
    """arcosh(1 + y) for y >= 0, without cancellation: (...) -> (...)."""
    return torch.log1p(y + torch.sqrt(y * (y + 2)))


def distance(u: Tensor, v: Tensor) -> Tensor:
    """Geodesic distance between exp0(u) and exp0(v), elementwise: (..., d), (..., d) -> (...)."""
    return arcosh1p(cosh_distance_minus_one(u, v))


def pairwise_square_distance(u: Tensor, v: Tensor) -> Tensor:
    """Squared geodesic distances between all pairs, by one matrix product: (m, d), (n, d) -> (m, n).

    For training, where gradients must stay finite: cosh d - 1 is floored at 1e-6 (d of about 1e-3). Serving
    ranks by `model.retrieval.metric` instead.
    """
    result: Tensor = _SquareArcosh.apply(_reflected(u) @ exp0(v).mT)  # type: ignore[no-untyped-call]
    return result


def square_distance(u: Tensor, v: Tensor) -> Tensor:
    """`pairwise_square_distance` elementwise: (..., d), (..., d) -> (...)."""
    result: Tensor = _SquareArcosh.apply((_reflected(u) * exp0(v)).sum(-1))  # type: ignore[no-untyped-call]
    return result


def cap_radius(v: Tensor, *, limit: float) -> Tensor:
    """Shrink radii smoothly below `limit`, directions kept: |v| -> limit tanh(|v| / limit)."""
    r = radius(v)
    tiny = r < 1e-6
    safe = torch.where(tiny, torch.ones_like(r), r)
    return v * torch.where(tiny, torch.ones_like(r), limit * torch.tanh(safe / limit) / safe)


def centroid(v: Tensor, weights: Tensor | None = None) -> Tensor:
    """Lorentz centroid S / sqrt(-<S, S>) of n points, in tangent form [2, theorem 3.3]: (..., n, d) -> (..., d).

    It minimises the weighted sum of cosh d. `weights` is (..., n), non-negative, by default all ones.
    """
    points = exp0(v)
    total = points.sum(-2) if weights is None else (points * weights.unsqueeze(-1)).sum(-2)
    return log0(total / (-inner(total, total)).clamp_min(torch.finfo(v.dtype).tiny).sqrt().unsqueeze(-1))


class _SquareArcosh(torch.autograd.Function):
    """arcosh(max(p, 1 + 1e-6))^2, with derivative 2 d / sinh d.

    Autograd's chain through the square root and the logarithm is several times slower, and this is where training
    spends its time.
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor) -> Tensor:
        y = (p - 1).clamp_min_(FLOOR)
        sinh = (y * (y + 2)).sqrt_()
        d = y.add_(sinh).log1p_()
        ctx.save_for_backward(d, sinh)
        return d.square()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        d, sinh = ctx.saved_tensors
        # below the floor the distance is constant
        slope: Tensor = (d / sinh).mul_(2).masked_fill_(sinh <= FLOORED_SINH, 0.0)
        return slope.mul_(grads[0])


def _reflected(v: Tensor) -> Tensor:
    """exp0(v) with its space coordinates negated, so that the plain product with a point is -<x, y>_L."""
    x = exp0(v)
    return torch.cat((x[..., :1], -x[..., 1:]), dim=-1)


def _sinh(r: Tensor) -> Tensor:
    """sinh by way of expm1: torch's own rounds differently at different places of a tensor, and equal items would
    no longer tie."""
    e = torch.expm1(r)
    return (e + e / (e + 1)) / 2


def _sinhc(r: Tensor) -> Tensor:
    """sinh(r) / r, by its series where the quotient would be 0/0."""
    tiny = r < 1e-3
    safe = torch.where(tiny, torch.ones_like(r), r)
    return torch.where(tiny, 1 + r.square() / 6, torch.sinh(safe) / safe)


def _unit(v: Tensor, r: Tensor) -> Tensor:
    return v / torch.where(r > 0, r, torch.ones_like(r))
