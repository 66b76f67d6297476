"""geoopt's optimiser on the manifold."""

import torch

from model.geometry import cosh_distance_minus_one, distance, inner, log0
from model.manifold import manifold_parameter, riemannian_adam
from tests.model.test_geometry import tangents


def test_riemannian_adam_moves_points_along_the_manifold_to_their_target() -> None:
    target = tangents(1, n=8, max_radius=2.0)
    point = manifold_parameter(tangents(2, n=8, max_radius=2.0))
    optimiser = riemannian_adam([point], lr=0.1)
    for _ in range(400):
        loss = cosh_distance_minus_one(log0(point), target).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    x = point.detach()
    torch.testing.assert_close(inner(x, x), -torch.ones(8, dtype=torch.float64), rtol=0, atol=1e-6)
    assert distance(log0(x), target).max() < 0.05
