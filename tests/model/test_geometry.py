"""Closed forms against geoopt in float64, and the properties that ranking and training rest on."""

import geoopt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.geometry import (
    cap_radius,
    centroid,
    cosh_distance_minus_one,
    distance,
    exp0,
    inner,
    log0,
    pairwise_square_distance,
    radius,
    square_distance,
)

LORENTZ = geoopt.Lorentz(k=1.0)


def tangents(seed: int, n: int = 32, d: int = 5, *, scale: float = 1.0, max_radius: float = 4.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(n, d, generator=generator, dtype=torch.float64), dim=-1)
    return directions * torch.rand(n, 1, generator=generator, dtype=torch.float64) * max_radius * scale


seeds = st.integers(0, 2**31)
# sixteen decades of radii, up to the cap
scales = st.integers(-16, 0).map(lambda e: 10.0**e)


@given(seeds, scales)
def test_exp0_lands_on_the_manifold_and_log0_undoes_it(seed: int, scale: float) -> None:
    v = tangents(seed, scale=scale)
    x = exp0(v)
    torch.testing.assert_close(inner(x, x), -torch.ones(len(x), dtype=x.dtype), rtol=0, atol=1e-9)
    torch.testing.assert_close(log0(x), v, rtol=1e-9, atol=0)


def test_the_origin_maps_to_the_origin() -> None:
    zero = torch.zeros(1, 3)
    assert exp0(zero).tolist() == [[1.0, 0.0, 0.0, 0.0]]
    assert log0(exp0(zero)).tolist() == [[0.0, 0.0, 0.0]]


@given(seeds)
def test_maps_and_distance_agree_with_geoopt(seed: int) -> None:
    u, v = tangents(seed), tangents(seed + 1)
    x, y = exp0(u), exp0(v)
    padded = torch.nn.functional.pad(u, (1, 0))
    torch.testing.assert_close(x, LORENTZ.expmap0(padded), rtol=1e-10, atol=1e-10)
    # geoopt takes the arcosh of x[0], which is hardly more than 1 near the origin
    torch.testing.assert_close(log0(x), LORENTZ.logmap0(x)[..., 1:], rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(distance(u, v), LORENTZ.dist(x, y), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(inner(x, y), LORENTZ.inner(x, x, y), rtol=1e-10, atol=1e-10)


@given(seeds)
def test_distance_is_a_metric_of_which_the_radius_is_a_part(seed: int) -> None:
    u, v, w = tangents(seed), tangents(seed + 1), tangents(seed + 2)
    torch.testing.assert_close(distance(u, v), distance(v, u))
    assert (distance(u, w) <= distance(u, v) + distance(v, w) + 1e-9).all()
    torch.testing.assert_close(distance(u, torch.zeros_like(u)), radius(u).squeeze(-1))
    assert (distance(u, u) == 0).all()


@given(seeds)
def test_distance_is_invariant_under_rotations(seed: int) -> None:
    u, v = tangents(seed), tangents(seed + 1)
    rotation, _ = torch.linalg.qr(tangents(seed + 2, n=5))
    torch.testing.assert_close(distance(u @ rotation, v @ rotation), distance(u, v), rtol=1e-9, atol=1e-9)


@given(seeds)
def test_euclidean_distance_of_tangents_is_a_lower_bound(seed: int) -> None:
    """The fact that the retrieval certificate rests on; the upper bound is sinh(R)/R times it."""
    u, v = tangents(seed, n=256), tangents(seed + 1, n=256)
    euclidean, hyperbolic = torch.linalg.vector_norm(u - v, dim=-1), distance(u, v)
    assert (euclidean <= hyperbolic + 1e-12).all()
    assert (hyperbolic <= euclidean * (torch.sinh(torch.tensor(4.0)) / 4.0) + 1e-9).all()


@given(seeds)
def test_float32_keeps_the_order_of_near_points(seed: int) -> None:
    u = tangents(seed, n=1, d=64).expand(200, 64)
    v = u + tangents(seed + 1, n=200, d=64, max_radius=0.5)
    exact, rounded = cosh_distance_minus_one(u, v), cosh_distance_minus_one(u.float(), v.float()).double()
    torch.testing.assert_close(rounded, exact, rtol=1e-4, atol=1e-9)


@given(seeds, scales)
def test_pairwise_square_distance_has_the_right_values_and_finite_gradients(seed: int, scale: float) -> None:
    u = tangents(seed, n=7, scale=scale).float().requires_grad_()
    v = torch.cat((u.detach(), tangents(seed + 1, n=5).float())).requires_grad_()
    squares = pairwise_square_distance(u, v)
    expected = distance(u.unsqueeze(1).double(), v.unsqueeze(0).double()).square()
    # float32 products lose about 6e-8 cosh^2 R of cosh d
    torch.testing.assert_close(squares.double(), expected, rtol=2e-3, atol=2e-3)
    squares.sum().backward()  # type: ignore[no-untyped-call]
    assert u.grad is not None
    assert v.grad is not None
    assert torch.isfinite(u.grad).all()
    assert torch.isfinite(v.grad).all()


@given(seeds)
def test_the_gradients_of_square_distances_are_those_of_the_distance_s_square(seed: int) -> None:
    u = tangents(seed, n=6).requires_grad_()
    v = tangents(seed + 1, n=6).requires_grad_()
    weights = torch.rand(6, 6, generator=torch.Generator().manual_seed(seed), dtype=u.dtype)
    expected = torch.autograd.grad((weights * distance(u.unsqueeze(1), v).square()).sum(), (u, v))
    pairwise = torch.autograd.grad((weights * pairwise_square_distance(u, v)).sum(), (u, v))
    torch.testing.assert_close(pairwise, expected, rtol=1e-6, atol=1e-8)
    expected = torch.autograd.grad((weights[0] * distance(u, v).square()).sum(), (u, v))
    elementwise = torch.autograd.grad((weights[0] * square_distance(u, v)).sum(), (u, v))
    torch.testing.assert_close(elementwise, expected, rtol=1e-6, atol=1e-8)


@given(seeds, st.floats(1.0, 1e6))
def test_cap_radius_keeps_directions_and_order_below_the_limit(seed: int, scale: float) -> None:
    v = tangents(seed, scale=scale)
    capped = cap_radius(v, limit=4.0)
    assert (radius(capped) <= 4.0 + 1e-9).all()
    torch.testing.assert_close(torch.nn.functional.normalize(capped), torch.nn.functional.normalize(v))


def test_cap_radius_leaves_short_vectors_alone_and_has_gradients_at_zero() -> None:
    v = torch.tensor([[0.0, 0.0], [1e-3, 0.0]], requires_grad=True)
    capped = cap_radius(v, limit=4.0)
    torch.testing.assert_close(capped, v, rtol=1e-6, atol=0)
    capped.sum().backward()  # type: ignore[no-untyped-call]
    assert v.grad is not None
    torch.testing.assert_close(v.grad, torch.ones_like(v), rtol=1e-5, atol=1e-5)


@given(seeds)
def test_centroid_minimises_the_sum_of_cosh_distances(seed: int) -> None:
    v = tangents(seed, n=6)
    weights = torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1

    def objective(w: Tensor) -> Tensor:
        return (weights * cosh_distance_minus_one(w.expand_as(v), v)).sum()

    middle = centroid(v, weights)
    for step in tangents(seed + 1, n=16, max_radius=1e-3):
        assert objective(middle) <= objective(middle + step) + 1e-12
    torch.testing.assert_close(centroid(v[:1]), v[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_the_dtype(dtype: torch.dtype) -> None:
    v = tangents(0).to(dtype)
    for result in (exp0(v), log0(exp0(v)), distance(v, v), cap_radius(v, limit=2.0), centroid(v)):
        assert result.dtype == dtype
