"""What answers computes what the modules compute, whatever the settings."""

import numpy as np
import pytest
import torch

from model.compiled import CompiledDiffusion
from model.config import DenoiserConfig, DiffusionConfig, EncoderConfig, ModelConfig, NoiseConfig
from model.diffusion import UserDiffusion

DIM = 12

NOISES = [
    {"kind": kind, "radial": radial, "angular": angular}
    for kind in ("directional", "isotropic", "none")
    for radial in (True, False)
    for angular in (True, False)
]


def diffusion(noise: dict[str, object], *, networks: str, gate: object, depth: int = 2) -> UserDiffusion:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM, max_radius=1.5),
        denoiser=DenoiserConfig(hidden=24, depth=depth, time_dim=7),
        noise=NoiseConfig.model_validate({"timesteps": 20, **noise}),
        diffusion=DiffusionConfig.model_validate({"networks": networks, "gate": gate}),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = UserDiffusion(config, mu=torch.randn(2, DIM) * 0.2, sigma=torch.rand(2, DIM) + 0.3)
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize(
    ("networks", "gate"), [("item", "learned"), ("item", 0.05), ("both", "learned"), ("both", 1.0)]
)
def test_it_is_the_forward_pass(noise: dict[str, object], networks: str, gate: object) -> None:
    made = diffusion(noise, networks=networks, gate=gate)
    halves = made.config.vectors + (networks == "both")
    for scale in (0.1, 3.0):  # within and beyond the radius that points are clamped to
        condition = torch.randn(50, halves, DIM, generator=torch.Generator().manual_seed(1)) * scale
        condition[7] = 0  # an empty history
        for steps in (0, 1, 2, 20):
            with torch.inference_mode():
                expected = made(condition, steps).numpy()
            np.testing.assert_allclose(
                CompiledDiffusion(made.config, made.weights(), steps)(condition.numpy()), expected, rtol=1e-5, atol=3e-6
            )


@pytest.mark.parametrize("depth", [1, 4])
def test_any_depth(depth: int) -> None:
    made = diffusion({}, networks="item", gate="learned", depth=depth)
    condition = torch.randn(9, made.config.vectors, DIM, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = made(condition, 3).numpy()
    found = CompiledDiffusion(made.config, made.weights(), 3)(condition.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("steps", [-1, 21])
def test_steps_outside_the_forward_process_are_refused(steps: int) -> None:
    made = diffusion({}, networks="item", gate="learned")
    with pytest.raises(ValueError, match=f"steps: got {steps}, expected 1 to 20"):
        CompiledDiffusion(made.config, made.weights(), steps)
