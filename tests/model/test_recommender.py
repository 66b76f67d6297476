"""The same request has the same answer alone, in any batch and in any order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import DenoiserConfig, DiffusionConfig, EncoderConfig, HistoryConfig, ModelConfig
from model.diffusion import UserDiffusion
from model.history import Histories
from model.recommender import TILE, Recommender
from model.retrieval import ExactIndex

DIM, N_ITEMS, USERS = 16, 500, 40
NOBODY = np.zeros(0, np.int32)


def recommender(networks: str) -> Recommender:
    config = ModelConfig(
        encoder=EncoderConfig(dim=DIM),
        history=HistoryConfig(half_lives=(2.0, "uniform")),
        denoiser=DenoiserConfig(hidden=256),
        diffusion=DiffusionConfig.model_validate({"networks": networks}),
    )
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        diffusion = UserDiffusion(config, mu=torch.zeros(2, DIM), sigma=torch.ones(2, DIM))
        for process in (diffusion.item, diffusion.user):
            if process is not None:
                torch.nn.init.normal_(process.denoiser.head.weight, std=0.1)
    vectors, messages = (torch.randn(*size, DIM, generator=generator) * 0.5 for size in ((N_ITEMS,), (2, N_ITEMS)))
    vectors[N_ITEMS // 2 :] = vectors[: N_ITEMS // 2]  # every item has a twin: ties
    index = ExactIndex(vectors.numpy(), overfetch={20: 40})
    return Recommender(diffusion, messages, index, np.arange(N_ITEMS, dtype=np.int32))


NUMBERS = np.random.default_rng(0)
HISTORIES = Histories.of(
    [NUMBERS.permutation(N_ITEMS)[: NUMBERS.integers(0, 60)].astype(np.int32) for _ in range(USERS)]
)
RECOMMENDERS = {networks: recommender(networks) for networks in ("item", "both")}
ALONE = {
    networks: [made.recommend(HISTORIES.take(np.array([u])), 20, [NOBODY])[0] for u in range(USERS)]
    for networks, made in RECOMMENDERS.items()
}


@pytest.mark.parametrize("networks", ["item", "both"])
@settings(max_examples=25)
@given(batch=st.lists(st.integers(0, USERS - 1), min_size=1, max_size=3 * TILE))
def test_an_answer_does_not_depend_on_the_batch(networks: str, batch: list[int]) -> None:
    answers = RECOMMENDERS[networks].recommend(HISTORIES.take(np.array(batch)), 20, [NOBODY] * len(batch))
    for user, hits in zip(batch, answers, strict=True):
        alone = ALONE[networks][user]
        assert hits.items.tolist() == alone.items.tolist()
        np.testing.assert_allclose(hits.distances, alone.distances, rtol=0, atol=1e-6)


@pytest.mark.parametrize("networks", ["item", "both"])
def test_equal_items_stand_in_the_order_of_their_index(networks: str) -> None:
    for hits in ALONE[networks]:
        for first, second in zip(hits.items[::2], hits.items[1::2], strict=True):
            assert second == first + N_ITEMS // 2
