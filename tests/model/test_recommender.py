"""The same request has the same answer alone, in any batch and in any order."""

from typing import NamedTuple

import numpy as np
import pytest
import torch

from model.config import DenoiserConfig, DiffusionConfig, EncoderConfig, HistoryConfig, ModelConfig
from model.diffusion import UserDiffusion
from model.history import Histories
from model.recommender import ROWS, Recommender
from model.retrieval import LorentzScan

DIM, N_ITEMS, USERS = 16, 500, 40


class Made(NamedTuple):
    """The modules, what they are told, and the recommender made of them."""

    diffusion: UserDiffusion
    vectors: torch.Tensor
    messages: torch.Tensor
    recommender: Recommender


def make(networks: str) -> Made:
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
    vectors, messages = (torch.randn(N_ITEMS, DIM, generator=generator) * 0.5 for _ in range(2))
    vectors[N_ITEMS // 2 :] = vectors[: N_ITEMS // 2]  # every item has a twin: ties
    popular = np.arange(N_ITEMS, dtype=np.int32)
    recommender = Recommender(config, diffusion.weights(), messages.numpy(), LorentzScan(vectors.numpy()), popular)
    return Made(diffusion.eval(), vectors, messages, recommender)


NUMBERS = np.random.default_rng(0)
HISTORIES = Histories.of(
    [NUMBERS.permutation(N_ITEMS)[: NUMBERS.integers(0, 60)].astype(np.int32) for _ in range(USERS)]
)
NETWORKS = ("item", "both")
MADE = {networks: make(networks) for networks in NETWORKS}
RECOMMENDERS = {networks: made.recommender for networks, made in MADE.items()}
ALONE = {
    networks: [made.recommend(HISTORIES.take(np.array([u])), 20, Histories.empty(1))[0] for u in range(USERS)]
    for networks, made in RECOMMENDERS.items()
}


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_vector_is_that_of_the_modules(networks: str, steps: int) -> None:
    made = MADE[networks]
    with torch.inference_mode():
        condition = made.diffusion.condition(HISTORIES, made.vectors, made.messages)
        expected = made.diffusion(condition, steps).numpy()
    np.testing.assert_allclose(made.recommender.user_vectors(HISTORIES, steps), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("networks", NETWORKS)
def test_an_answer_does_not_depend_on_the_batch(networks: str) -> None:
    """2,500 batches of random sizes and orders, up to more users than are denoised together."""
    made, numbers = RECOMMENDERS[networks], np.random.default_rng(1)
    steps = made.config.steps
    alone = np.concatenate([made.user_vectors(HISTORIES.take(np.array([u])), steps) for u in range(USERS)])
    sizes = [*numbers.integers(1, 20, 2490), *numbers.integers(ROWS - 5, 2 * ROWS + 5, 10)]
    for size in sizes:
        batch = numbers.choice(USERS, size)
        vectors = made.user_vectors(HISTORIES.take(batch), steps)
        assert (vectors == alone[batch]).all()  # bit for bit
        found = made.index.search(vectors, [20] * size, Histories.empty(size))
        for user, hits in zip(batch, found, strict=True):
            assert hits.items.tolist() == ALONE[networks][user].items.tolist()
            assert hits.distances.tolist() == ALONE[networks][user].distances.tolist()


def test_no_users_have_no_vectors() -> None:
    assert RECOMMENDERS["item"].user_vectors(Histories.empty(0), 3).shape == (0, DIM)
    assert RECOMMENDERS["item"].recommend(Histories.empty(0), 5, Histories.empty(0)) == []


def test_popular_items_are_not_those_excluded() -> None:
    gone = np.array([0, 2, 499], np.int32)
    assert RECOMMENDERS["item"].most_popular(3, gone).tolist() == [1, 3, 4]
    assert len(RECOMMENDERS["item"].most_popular(2 * N_ITEMS, gone)) == N_ITEMS - 3


@pytest.mark.parametrize("networks", NETWORKS)
def test_equal_items_stand_in_the_order_of_their_index(networks: str) -> None:
    for hits in ALONE[networks]:
        for first, second in zip(hits.items[::2], hits.items[1::2], strict=True):
            assert second == first + N_ITEMS // 2
