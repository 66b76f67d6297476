"""The gather of a request gives the condition that training learns from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import AttentionConfig, DiffusionConfig, EncoderConfig, HistoryConfig, ModelConfig
from model.diffusion import UserDiffusion
from model.gather import ConditionGather
from model.history import Histories

DIM, ITEMS = 6, 50


@given(
    lengths=st.lists(st.integers(0, 40), max_size=8),
    longest=st.integers(1, 30),
    networks=st.sampled_from(["item", "both"]),
    half_lives=st.sampled_from([(0.5, 4.0, 300.0, "uniform"), ("uniform",), (2.0,)]),
    attention=st.integers(0, 30),
    heads=st.integers(1, 3),
)
def test_it_is_the_condition(
    lengths: list[int],
    longest: int,
    networks: str,
    half_lives: tuple[float | str, ...],
    attention: int,
    heads: int,
) -> None:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        history=HistoryConfig(half_lives=half_lives, max_length=longest),  # type: ignore[arg-type]
        attention=AttentionConfig(length=attention, heads=heads, hidden=9),
        diffusion=DiffusionConfig.model_validate({"networks": networks}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        diffusion = UserDiffusion(config, mu=torch.zeros(2, DIM), sigma=torch.ones(2, DIM))
        if diffusion.attention is not None:
            torch.nn.init.normal_(diffusion.attention.by_age)
    generator, numbers = torch.Generator().manual_seed(0), np.random.default_rng(0)
    items = torch.randn(ITEMS, DIM, generator=generator)
    messages = torch.randn(ITEMS, DIM, generator=generator)
    histories = Histories.of([numbers.permutation(ITEMS)[:length].astype(np.int32) for length in lengths])
    expected = diffusion.condition(histories, items, messages).detach().numpy()
    gathered = ConditionGather(config, diffusion.weights(), items.numpy(), messages.numpy())(histories)
    assert gathered.dtype == np.float32
    np.testing.assert_allclose(gathered, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("longest", [1, 1000])  # the means do not see the older item, or do
@pytest.mark.parametrize("item", [-1, ITEMS])
def test_items_without_a_vector_are_refused(item: int, longest: int) -> None:
    """Machine code would read beside the arrays."""
    config = ModelConfig(encoder=EncoderConfig(dim=DIM), history=HistoryConfig(max_length=longest))
    diffusion = UserDiffusion(config, mu=torch.zeros(1, DIM), sigma=torch.ones(1, DIM))
    vectors = np.zeros((ITEMS, DIM), np.float32)
    gather = ConditionGather(config, diffusion.weights(), vectors, vectors)
    for row in ([item, 3], [3, item]) if longest > 1 else ([item, 3],):
        with pytest.raises(IndexError, match="no vector"):
            gather(Histories.of([np.array(row, np.int32)]))
