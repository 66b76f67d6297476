import pytest
import torch

from model.config import SpaceName
from model.space import space

NAMES: tuple[SpaceName, ...] = ("hyperbolic", "euclidean")


@pytest.mark.parametrize("name", NAMES)
def test_the_two_functions_agree(name: SpaceName) -> None:
    measure = space(name)
    generator = torch.Generator().manual_seed(0)
    u, v = (torch.randn(n, 5, generator=generator, dtype=torch.float64) for n in (4, 6))
    squares = measure.pairwise_square(u, v)
    left, right = u.unsqueeze(1).expand(4, 6, 5), v.expand(4, 6, 5)
    torch.testing.assert_close(measure.square(left, right), squares)


def test_curvature_lengthens_distances() -> None:
    u, v = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    flat, curved = (space(name).square(u, v).sqrt() for name in ("euclidean", "hyperbolic"))
    assert flat == pytest.approx(8**0.5)
    assert curved > flat


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e-3, 1.0, 4.0])
def test_squares_have_finite_gradients_at_every_radius(name: SpaceName, size: float) -> None:
    u = (torch.nn.functional.normalize(torch.randn(3, 4), dim=-1) * size).requires_grad_()
    v = u.detach().clone().roll(1, 0)
    v[0] = u.detach()[0]  # coinciding
    (space(name).square(u, v).sum() + space(name).pairwise_square(u, v).sum()).backward()  # type: ignore[no-untyped-call]
    assert u.grad is not None
    assert torch.isfinite(u.grad).all()
