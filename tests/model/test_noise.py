from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import NoiseConfig
from model.geometry import radius
from model.noise import clamp_radius, forward_noise, noised, sampling_times, signal_levels

DIRECTIONAL = NoiseConfig()
ISOTROPIC = NoiseConfig(kind="isotropic", angular=False)


def parts(seed: int, b: int = 64, d: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    eps, condition = torch.randn(b, d, generator=generator), torch.randn(b, d, generator=generator)
    return eps, condition, torch.randn(d, generator=generator), torch.rand(d, generator=generator) + 0.1


@given(st.integers(1, 300), st.floats(0.6, 0.999), st.floats(0.001, 0.4))
def test_signal_falls_from_one_to_the_last_level(timesteps: int, first: float, last: float) -> None:
    levels = signal_levels(NoiseConfig(timesteps=timesteps, alpha_bar_first=first, alpha_bar_last=last))
    assert levels.dtype == torch.float64
    assert levels[0] == 1
    assert (levels.diff() < 0).all()
    assert levels[1].item() == pytest.approx(first)
    if timesteps > 1:
        assert levels[-1].item() == pytest.approx(last)


@given(st.integers(1, 200), st.data())
def test_sampling_times_fall_from_the_last_time(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    times = sampling_times(timesteps, steps)
    assert len(times) == steps
    assert times[0] == timesteps
    assert times[-1] >= 1
    assert all(later > earlier for later, earlier in pairwise(times))


@pytest.mark.parametrize("steps", [0, -1, 51])
def test_more_steps_than_the_process_has_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=r"steps: got .*, expected 1 to 50"):
        sampling_times(50, steps)


def test_directional_noise_has_the_conditions_signs_and_the_data_s_magnitudes() -> None:
    eps, condition, mu, sigma = parts(0)
    noise = forward_noise(eps, condition, mu, sigma, DIRECTIONAL)
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
