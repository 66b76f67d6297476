import pytest
import torch

from model.config import DenoiserConfig, EncoderConfig, ModelConfig, NoiseConfig
from model.denoiser import Denoiser, time_embedding
from model.diffusion import UserDiffusion
from model.geometry import radius

DIM, HALF_LIVES = 8, 8


def diffusion(*, trained: bool = True, **noise: object) -> UserDiffusion:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        noise=NoiseConfig.model_validate(noise),
        denoiser=DenoiserConfig(hidden=16, time_dim=6),
        steps=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = UserDiffusion(config, mu=torch.randn(DIM) * 0.1, sigma=torch.rand(DIM) + 0.5)
        if trained:  # the head starts at zero
            torch.nn.init.normal_(made.denoiser.head.weight, std=0.3)
    return made.eval()


def conditions(b: int = 5) -> torch.Tensor:
    return torch.randn(b, HALF_LIVES, DIM, generator=torch.Generator().manual_seed(1))


def test_an_untrained_denoiser_leaves_the_base_estimate() -> None:
    fresh = diffusion(trained=False)
    torch.testing.assert_close(fresh.reverse(conditions(), 3), fresh.base(conditions()))


def test_zero_steps_leave_the_diffusion_out_and_steps_change_the_user() -> None:
    model = diffusion()
    condition = conditions()
    assert torch.equal(model(condition, 0), model.user(model.base(condition), None))
    assert not torch.allclose(model(condition, 1), model(condition, 0))
    assert not torch.allclose(model(condition, 3), model(condition, 1))


def test_the_reverse_process_is_deterministic_and_independent_of_the_batch() -> None:
    model = diffusion()
    whole = model(conditions(), 3)
    assert torch.equal(whole, model(conditions(), 3))
    for row in range(5):
        torch.testing.assert_close(model(conditions()[row : row + 1], 3)[0], whole[row], rtol=1e-5, atol=1e-6)


def test_an_empty_batch_has_an_empty_answer() -> None:
    assert diffusion()(conditions(0), 3).shape == (0, DIM)


def test_one_reverse_step_is_the_network_s_prediction_at_the_last_time() -> None:
    """Known answer, by hand: z_T = sqrt(ab_T) base + sqrt(1 - ab_T) sgn(base) |mu|, then x0-prediction."""
    model = diffusion(radial=False)
    condition = conditions()
    base, ab = model.base(condition), model.levels[-1]
    start = ab.sqrt() * base + (1 - ab).sqrt() * torch.sign(base) * model.mu.abs()
    last = torch.full((5,), 50)
    torch.testing.assert_close(model.reverse(condition, 1), model.predict(start, condition, last))


def test_the_last_step_returns_the_prediction_not_the_noised_state() -> None:
    """DDIM with eta = 0: by hand for two steps."""
    model = diffusion(radial=False, timesteps=2)
    condition = conditions()
    base, levels = model.base(condition), model.levels
    z_2 = levels[2].sqrt() * base + (1 - levels[2]).sqrt() * torch.sign(base) * model.mu.abs()
    first = model.predict(z_2, condition, torch.full((5,), 2))
    noise = (z_2 - levels[2].sqrt() * first) / (1 - levels[2]).sqrt()
    z_1 = levels[1].sqrt() * first + (1 - levels[1]).sqrt() * noise
    torch.testing.assert_close(model.reverse(condition, 2), model.predict(z_1, condition, torch.full((5,), 1)))


def test_users_stay_below_the_radius_cap() -> None:
    model = diffusion()
    assert (radius(model(conditions() * 100, 3)) <= 4.0 + 1e-5).all()


@pytest.mark.parametrize("steps", [51, -1])
def test_impossible_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        diffusion()(conditions(), steps)


def test_an_empty_history_has_a_finite_answer() -> None:
    assert torch.isfinite(diffusion()(torch.zeros(1, HALF_LIVES, DIM), 3)).all()


def test_corruption_grows_with_time() -> None:
    model = diffusion()
    condition = conditions(400)
    clean = model.base(condition).detach()
    eps = torch.randn(400, DIM, generator=torch.Generator().manual_seed(2))
    errors = [
        (model.corrupt(clean, condition, torch.full((400,), t), eps) - clean).square().mean().item()
        for t in (1, 25, 50)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_the_gate_mixes_base_and_denoised() -> None:
    model = diffusion()
    base, denoised = torch.zeros(2, DIM), torch.full((2, DIM), 0.01)
    torch.testing.assert_close(model.user(base, denoised), denoised * model.gate.detach(), rtol=1e-3, atol=0)


def test_time_embedding_tells_times_apart() -> None:
    embedding = time_embedding(torch.linspace(0.02, 1.0, 50), 7)
    assert embedding.shape == (50, 7)
    distances = torch.cdist(embedding, embedding) + torch.eye(50)
    assert distances.min() > 1e-3


def test_the_denoiser_sees_its_three_inputs() -> None:
    network = Denoiser(4, 2, DenoiserConfig(hidden=16, dropout=0.0))
    torch.nn.init.normal_(network.head.weight)
    z, condition, t = torch.ones(1, 4), torch.ones(1, 2, 4), torch.tensor([0.5])
    first = network(z, condition, t)
    for changed in (network(z * 2, condition, t), network(z, condition * 2, t), network(z, condition, t * 2)):
        assert not torch.allclose(first, changed)
