import numpy as np
import pytest
import torch

from model.config import (
    UNIFORM,
    AttentionConfig,
    DenoiserConfig,
    DiffusionConfig,
    EncoderConfig,
    HistoryConfig,
    ModelConfig,
)
from model.diffusion import UserDiffusion
from model.geometry import radius
from model.history import Histories
from model.means import history_vectors, mean_vectors

DIM, N_ITEMS = 8, 20
GENERATOR = np.random.default_rng(0)
HISTORIES = Histories.of([GENERATOR.permutation(N_ITEMS)[:n].astype(np.int32) for n in (1, 3, 7, 12, 20)])


def vectors(seed: int) -> torch.Tensor:
    return torch.randn(N_ITEMS, DIM, generator=torch.Generator().manual_seed(seed))


ITEMS, MESSAGES = vectors(1), vectors(2)


def diffusion(attention: int = 0, **settings: object) -> UserDiffusion:
    both = settings.get("networks") == "both"
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        history=HistoryConfig(half_lives=(UNIFORM,) if both else (1.0, UNIFORM)),
        attention=AttentionConfig(length=attention, hidden=16),
        denoiser=DenoiserConfig(hidden=16, time_dim=6),
        diffusion=DiffusionConfig.model_validate(settings),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = UserDiffusion(config, mu=torch.randn(2, DIM) * 0.1, sigma=torch.rand(2, DIM) + 0.5)
        for process in (made.item, made.user):
            if process is not None:  # a fresh one corrects nothing
                torch.nn.init.normal_(process.denoiser.head.weight, std=0.3)
    return made.eval()


def condition_of(model: UserDiffusion, histories: Histories = HISTORIES) -> torch.Tensor:
    return model.condition(histories, ITEMS, MESSAGES)


def test_zero_steps_leave_the_diffusion_out_and_steps_change_the_user() -> None:
    model = diffusion()
    condition = condition_of(model)
    assert torch.equal(model(condition, 0), model.mix(condition, []))
    assert not torch.allclose(model(condition, 1), model(condition, 0))
    assert not torch.allclose(model(condition, 3), model(condition, 1))


def test_one_network_denoises_from_the_base_estimate_given_all_history_vectors() -> None:
    model = diffusion(networks="item")
    condition = condition_of(model)
    torch.testing.assert_close(condition, history_vectors(HISTORIES, MESSAGES, model.config.history))
    (target,) = model.targets(condition)
    torch.testing.assert_close(target.anchor, condition.mean(1))  # the weights start equal
    assert target.condition is condition


def test_what_the_attention_says_is_the_first_base_estimate() -> None:
    model = diffusion(attention=4)
    assert model.attention is not None
    condition = condition_of(model)
    means, attended = condition[:, :2], condition[:, 2:]
    torch.testing.assert_close(means, history_vectors(HISTORIES, MESSAGES, model.config.history))
    torch.testing.assert_close(attended.squeeze(1), model.attention.newest(HISTORIES, ITEMS))
    (target,) = model.targets(condition)
    torch.testing.assert_close(target.anchor, attended.squeeze(1))
    assert model.base_weights.requires_grad


def test_the_attention_neither_learns_nor_drops_anything() -> None:
    model = diffusion(attention=4).train()
    assert model.attention is not None
    assert not any(parameter.requires_grad for parameter in model.attention.parameters())
    torch.testing.assert_close(condition_of(model), condition_of(model), rtol=0, atol=0)


def test_both_networks_denoise_item_and_user_each_given_the_other() -> None:
    model = diffusion(networks="both")
    condition = condition_of(model)
    user, item = mean_vectors(HISTORIES, MESSAGES), mean_vectors(HISTORIES, ITEMS)
    ideal, refined = model.targets(condition)
    torch.testing.assert_close(ideal.anchor, item)
    torch.testing.assert_close(ideal.condition.squeeze(1), user)
    torch.testing.assert_close(refined.anchor, user)
    torch.testing.assert_close(refined.condition.squeeze(1), item)
    assert ideal.process is model.item
    assert refined.process is model.user


def test_a_fixed_gate_mixes_as_published_and_leaves_the_encoder_s_user_alone() -> None:
    """0.95 user + 0.05 of the mean of the two results, and nothing of the base is learned."""
    model = diffusion(networks="both", gate=0.05, base="fixed")
    condition = condition_of(model) * 0.01  # far from the cap, which changes nothing there
    results = [t.process.reverse(t.anchor, t.condition, 2) for t in model.targets(condition)]
    small = [0.01 * result for result in results]
    expected = 0.95 * condition[:, 0] + 0.05 * (small[0] + small[1]) / 2
    torch.testing.assert_close(model.mix(condition, small), expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(model(condition, 2), model.mix(condition, results))
    assert not any(p.requires_grad for p in (model.base_weights, model.log_scale, model.gate_logit))


def test_a_learned_gate_mixes_base_and_denoised() -> None:
    model = diffusion()
    condition, denoised = torch.zeros(2, 2, DIM), torch.full((2, DIM), 0.01)
    torch.testing.assert_close(model.mix(condition, [denoised]), denoised * model.gate.detach(), rtol=1e-3, atol=0)
    assert model.gate_logit.requires_grad


@pytest.mark.parametrize("networks", ["item", "both"])
def test_users_stay_below_the_radius_cap(networks: str) -> None:
    model = diffusion(networks=networks)
    condition = condition_of(model) * 100
    assert (radius(model(condition, 3)) <= 4.0 + 1e-5).all()


def test_an_empty_batch_has_an_empty_answer() -> None:
    model = diffusion()
    assert model(torch.zeros(0, model.config.vectors, DIM), 3).shape == (0, DIM)


@pytest.mark.parametrize("networks", ["item", "both"])
@pytest.mark.parametrize("attention", [0, 4])
def test_an_empty_history_has_a_finite_answer(networks: str, attention: int) -> None:
    model = diffusion(attention, networks=networks)
    condition = condition_of(model, Histories.of([np.zeros(0, np.int32)]))
    assert torch.isfinite(model(condition, 3)).all()
