"""The gather of a request gives the condition that training learns from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import DiffusionConfig, EncoderConfig, HistoryConfig, ModelConfig
from model.diffusion import UserDiffusion
from model.gather import ConditionGather
from model.history import Histories

DIM, ITEMS = 6, 50


@given(
    lengths=st.lists(st.integers(0, 40), max_size=8),
    longest=st.integers(1, 30),
    networks=st.sampled_from(["item", "both"]),
    half_lives=st.sampled_from([(0.5, 4.0, 300.0, "uniform"), ("uniform",), (2.0,)]),
    follower_half_lives=st.sampled_from([(), (0.5,), (1.0, 8.0)]),
)
def test_it_is_the_condition(
    lengths: list[int],
    longest: int,
    networks: str,
    half_lives: tuple[float | str, ...],
    follower_half_lives: tuple[float, ...],
) -> None:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        history=HistoryConfig(half_lives=half_lives, follower_half_lives=follower_half_lives, max_length=longest),  # type: ignore[arg-type]
        diffusion=DiffusionConfig.model_validate({"networks": networks}),
    )
    diffusion = UserDiffusion(config, mu=torch.zeros(2, DIM), sigma=torch.ones(2, DIM))
    generator, numbers = torch.Generator().manual_seed(0), np.random.default_rng(0)
    items = torch.randn(ITEMS, DIM, generator=generator)
    messages = torch.randn(config.history.kinds, ITEMS, DIM, generator=generator)
    histories = Histories.of([numbers.permutation(ITEMS)[:length].astype(np.int32) for length in lengths])
    expected = diffusion.condition(histories, items, messages).detach().numpy()
    gathered = ConditionGather(config, items, messages)(histories)
    assert gathered.dtype == np.float32
    np.testing.assert_allclose(gathered, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("item", [-1, ITEMS])
def test_items_without_a_vector_are_refused(item: int) -> None:
    """Machine code would read beside the arrays."""
    config = ModelConfig(encoder=EncoderConfig(dim=DIM))
    items, messages = torch.zeros(ITEMS, DIM), torch.zeros(config.history.kinds, ITEMS, DIM)
    with pytest.raises(IndexError, match="no vector"):
        ConditionGather(config, items, messages)(Histories.of([np.array([3, item], np.int32)]))
