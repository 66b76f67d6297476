import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from model.config import DenoiserConfig, EncoderConfig, ModelConfig, NoiseConfig
from model.denoiser import Denoiser
from model.geometry import radius
from model.process import Process
from model.schedule import sampling_times

DIM, CONDITIONS = 8, 3


def process(*, trained: bool = True, **noise: object) -> Process:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        noise=NoiseConfig.model_validate(noise),
        denoiser=DenoiserConfig(hidden=16, time_dim=6),
        steps=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Process(config, CONDITIONS, mu=torch.randn(DIM) * 0.1, sigma=torch.rand(DIM) + 0.5)
        if trained:  # the head starts at zero
            torch.nn.init.normal_(made.denoiser.head.weight, std=0.3)
    return made.eval()


def given(b: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Anchors and conditions."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(b, DIM, generator=generator), torch.randn(b, CONDITIONS, DIM, generator=generator)


def test_an_untrained_network_leaves_the_anchor() -> None:
    anchor, condition = given()
    torch.testing.assert_close(process(trained=False).reverse(anchor, condition, 3), anchor)


def test_the_reverse_process_is_deterministic_and_independent_of_the_batch() -> None:
    model, (anchor, condition) = process(), given()
    whole = model.reverse(anchor, condition, 3)
    assert torch.equal(whole, model.reverse(anchor, condition, 3))
    for row in range(5):
        alone = model.reverse(anchor[row : row + 1], condition[row : row + 1], 3)[0]
        torch.testing.assert_close(alone, whole[row], rtol=1e-5, atol=1e-6)


def test_one_reverse_step_is_the_network_s_prediction_at_the_last_time() -> None:
    """Known answer, by hand: z_T = sqrt(ab_T) anchor + sqrt(1 - ab_T) sgn(anchor) |mu|, then x0-prediction."""
    model, (anchor, condition) = process(radial=False), given()
    ab = model.levels[-1]
    start = ab.sqrt() * anchor + (1 - ab).sqrt() * torch.sign(anchor) * model.mu.abs()
    expected = model.predict(start, anchor, condition, torch.full((5,), 50))
    torch.testing.assert_close(model.reverse(anchor, condition, 1), expected)


def test_the_last_step_returns_the_prediction_not_the_noised_state() -> None:
    """DDIM with eta = 0: by hand for two steps."""
    model, (anchor, condition) = process(radial=False, timesteps=2), given()
    levels = model.levels
    z_2 = levels[2].sqrt() * anchor + (1 - levels[2]).sqrt() * torch.sign(anchor) * model.mu.abs()
    first = model.predict(z_2, anchor, condition, torch.full((5,), 2))
    noise = (z_2 - levels[2].sqrt() * first) / (1 - levels[2]).sqrt()
    z_1 = levels[1].sqrt() * first + (1 - levels[1]).sqrt() * noise
    expected = model.predict(z_1, anchor, condition, torch.full((5,), 1))
    torch.testing.assert_close(model.reverse(anchor, condition, 2), expected)


class Oracle(Process):
    """Knows z_0 = `truth` (b, d), and keeps the states z_t that it is asked at."""

    truth: torch.Tensor
    states: list[torch.Tensor]

    def predict(
        self, z_t: torch.Tensor, anchor: torch.Tensor, condition: torch.Tensor, t: torch.Tensor
    ) -> torch.Tensor:
        self.states.append(z_t)
        return self.truth


@hypothesis.given(
    st.sampled_from(["directional", "isotropic", "none"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 60),
    st.sampled_from([1e-3, 1.0, 8.0]),
    st.integers(0, 2**31),
    st.data(),
)
def test_who_knows_z_0_ends_there_by_way_of_its_forward_process(
    kind: str, radial: bool, angular: bool, timesteps: int, size: float, seed: int, data: st.DataObject
) -> None:
    """All states are z_0 under one and the same noise, that of the start, unless the radius of one was clamped."""
    steps = data.draw(st.integers(1, timesteps))
    noise = NoiseConfig.model_validate({"kind": kind, "radial": radial, "angular": angular, "timesteps": timesteps})
    generator = torch.Generator().manual_seed(seed)
    mu, *rows = torch.randn(1 + 2 * 6, DIM, generator=generator, dtype=torch.float64)
    anchor, truth = size * torch.stack(rows[:6]), size * torch.stack(rows[6:])
    config = ModelConfig(encoder=EncoderConfig(dim=DIM), noise=noise, denoiser=DenoiserConfig(hidden=8), steps=1)
    model = Oracle(config, CONDITIONS, mu=mu, sigma=torch.ones(DIM)).double()
    model.truth, model.states = truth, []
    assert torch.equal(model.reverse(anchor, torch.zeros(6, CONDITIONS, DIM), steps), truth)

    states = torch.stack(model.states)  # (steps, b, d)
    levels = model.levels[sampling_times(timesteps, steps)].view(-1, 1, 1)
    held = (states - levels.sqrt() * truth) / (1 - levels).sqrt()
    radii = radius(states).squeeze(-1)
    free = torch.ones(6, dtype=torch.bool)
    if radial:
        assert (radii <= config.encoder.max_radius + 1e-9).all()
        free = (radii < config.encoder.max_radius - 1e-9).all(0)
    torch.testing.assert_close(held[:, free], held[:1, free].expand_as(held[:, free]), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("steps", [51, -1])
def test_impossible_steps_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        process().reverse(*given(), steps)


def test_corruption_grows_with_time() -> None:
    model, (anchor, _) = process(), given(400)
    eps = torch.randn(400, DIM, generator=torch.Generator().manual_seed(2))
    errors = [
        (model.corrupt(anchor, anchor, torch.full((400,), t), eps) - anchor).square().mean().item() for t in (1, 25, 50)
    ]
    assert errors[0] < errors[1] < errors[2]


def test_without_noise_the_signal_only_fades() -> None:
    model, (anchor, _) = process(kind="none"), given()
    faded = model.corrupt(anchor, anchor, torch.full((5,), 50), torch.randn(5, DIM))
    torch.testing.assert_close(faded, model.levels[-1].sqrt() * anchor)


@pytest.mark.parametrize("kind", ["directional", "isotropic", "none"])
@pytest.mark.parametrize("size", [1e-12, 1e-6, 1.0, 4.0])
def test_answers_and_gradients_are_finite_at_every_radius(kind: str, size: float) -> None:
    model = process(kind=kind)
    anchor = (torch.nn.functional.normalize(given()[0], dim=-1) * size).requires_grad_()
    condition = given()[1] * size
    z_t = model.corrupt(anchor, anchor, torch.tensor([1, 10, 25, 40, 50]), torch.randn(5, DIM))
    out = model.predict(z_t, anchor, condition, torch.tensor([1, 10, 25, 40, 50])) + model.reverse(anchor, condition, 3)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(out).all()
    assert anchor.grad is not None
    assert torch.isfinite(anchor.grad).all()


def test_the_denoiser_sees_its_three_inputs() -> None:
    network = Denoiser(4, 2, DenoiserConfig(hidden=16, dropout=0.0))
    torch.nn.init.normal_(network.head.weight)
    z, condition, t = torch.ones(1, 4), torch.ones(1, 2, 4), torch.full((1, 32), 0.5)
    first = network(z, condition, t)
    for changed in (network(z * 2, condition, t), network(z, condition * 2, t), network(z, condition, t * 2)):
        assert not torch.allclose(first, changed)
