import pytest
import torch

from model.config import NoiseConfig
from model.geometry import radius
from model.noise import clamp_radius, forward_noise, noised

DIRECTIONAL = NoiseConfig()
ISOTROPIC = NoiseConfig(kind="isotropic", angular=False)


def parts(seed: int, b: int = 64, d: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    eps, condition = torch.randn(b, d, generator=generator), torch.randn(b, d, generator=generator)
    return eps, condition, torch.randn(d, generator=generator), torch.rand(d, generator=generator) + 0.1


@pytest.mark.parametrize("angular", [True, False])
def test_directional_noise_has_the_conditions_signs_and_the_data_s_magnitudes(angular: bool) -> None:
    eps, condition, mu, sigma = parts(0)
    noise = forward_noise(eps, condition, mu, sigma, NoiseConfig(angular=angular))
    assert (noise * condition >= 0).all()
    torch.testing.assert_close(noise.abs(), (mu + sigma * eps).abs())


def test_isotropic_noise_has_the_power_of_the_data_in_every_direction() -> None:
    eps, condition, mu, sigma = parts(1, b=20_000)
    noise = forward_noise(eps, condition, mu, sigma, ISOTROPIC)
    power = (mu.square() + sigma.square()).mean().expand(8)
    torch.testing.assert_close(noise.square().mean(0), power, rtol=0.1, atol=0)
    assert ((noise * condition).sum(-1) < 0).any()


@pytest.mark.parametrize("kind", ["directional", "isotropic"])
def test_angular_restriction_keeps_noise_on_the_condition_s_side(kind: str) -> None:
    eps, condition, mu, sigma = parts(2)
    config = NoiseConfig.model_validate({"kind": kind, "angular": True})
    assert ((forward_noise(eps, condition, mu, sigma, config) * condition).sum(-1) >= 0).all()


def test_a_row_s_noise_does_not_depend_on_the_other_rows() -> None:
    eps, condition, mu, sigma = parts(3)
    whole = forward_noise(eps, condition, mu, sigma, DIRECTIONAL)
    alone = forward_noise(eps[:1], condition[:1], mu, sigma, DIRECTIONAL)
    assert torch.equal(whole[:1], alone)


def test_radial_restriction_bounds_the_radius_and_can_be_switched_off() -> None:
    clean = torch.full((4, 8), 3.0)
    level = torch.full((4, 1), 0.5)
    bounded = noised(clean, clean, level, DIRECTIONAL, max_radius=4.0)
    free = noised(clean, clean, level, NoiseConfig(radial=False), max_radius=4.0)
    assert (radius(bounded) <= 4.0 + 1e-5).all()
    assert (radius(free) > 4.0).all()


def test_full_signal_changes_nothing() -> None:
    clean = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.equal(noised(clean, torch.ones(4, 8), torch.ones(4, 1), DIRECTIONAL, max_radius=4.0), clean)


def test_clamp_radius_keeps_short_vectors_and_zero() -> None:
    v = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    torch.testing.assert_close(clamp_radius(v, limit=1.0), torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    assert torch.equal(clamp_radius(v, limit=9.0), v)
