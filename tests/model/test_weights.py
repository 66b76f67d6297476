"""What training hands to answering is what the modules hold, and nothing else is taken."""

import numpy as np
import pytest
import torch

from model.config import AttentionConfig, DenoiserConfig, DiffusionConfig, EncoderConfig, HistoryConfig, ModelConfig
from model.diffusion import UserDiffusion
from model.weights import check_weights, shapes

DIM = 6


def made(*, attention: int = 5, networks: str = "item", depth: int = 2) -> UserDiffusion:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        history=HistoryConfig(half_lives=(2.0, "uniform")),
        attention=AttentionConfig(length=attention, heads=3, hidden=10),
        denoiser=DenoiserConfig(hidden=9, depth=depth, time_dim=5),
        diffusion=DiffusionConfig.model_validate({"networks": networks}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UserDiffusion(config, mu=torch.randn(2, DIM), sigma=torch.rand(2, DIM) + 0.1).eval()


@pytest.mark.parametrize("attention", [0, 5])
@pytest.mark.parametrize("networks", ["item", "both"])
@pytest.mark.parametrize("depth", [1, 3])
def test_shapes_are_those_of_the_modules(attention: int, networks: str, depth: int) -> None:
    diffusion = made(attention=attention, networks=networks, depth=depth)
    weights = diffusion.weights()
    assert {name: values.shape for name, values in weights.items()} == shapes(diffusion.config)
    check_weights(weights, diffusion.config)
    condition = torch.randn(3, diffusion.config.vectors + (networks == "both"), DIM)
    again = UserDiffusion.of(diffusion.config, weights)
    with torch.inference_mode():
        assert torch.equal(again(condition, 3), diffusion(condition, 3))


def test_weights_are_a_copy() -> None:
    diffusion = made()
    weights = diffusion.weights()
    before = weights["base_weights"].copy()
    diffusion.base_weights.data.add_(1.0)
    assert np.array_equal(weights["base_weights"], before)


def test_weights_of_other_settings_are_refused() -> None:
    diffusion = made()
    weights, config = dict(diffusion.weights()), diffusion.config
    with pytest.raises(ValueError, match=r"not of a model with these settings: attention\.answer\.bias, "):
        check_weights({name: v for name, v in weights.items() if not name.startswith("attention")}, config)
    with pytest.raises(ValueError, match="not of a model with these settings: extra"):
        check_weights({**weights, "extra": weights["log_scale"]}, config)
    with pytest.raises(ValueError, match=r"item\.mu: got float32 \(7,\), expected float32 \(6,\)"):
        check_weights({**weights, "item.mu": np.zeros(7, np.float32)}, config)
    with pytest.raises(ValueError, match=r"item\.mu: got float64"):
        check_weights({**weights, "item.mu": np.zeros(6)}, config)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"item\.mu: expected finite numbers"):
        check_weights({**weights, "item.mu": np.full(6, np.nan, np.float32)}, config)
