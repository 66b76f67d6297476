"""What the network may see, what it is trained on, and that it learns an order."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmarks.baselines.sasrec import Sasrec, SasrecConfig, SasrecStage, tokens
from model.history import Histories
from tests.benchmarks.baselines.planted import cycles, histories
from training.attention_fit import cut

CONFIG = SasrecConfig(dim=16, layers=1, max_length=4, dropout=0.1, learning_rate=0.01)


@pytest.fixture(scope="module")
def network() -> Sasrec:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Sasrec(9, CONFIG).eval()


def test_no_token_knows_later_ones(network: Sasrec) -> None:
    x = network(torch.tensor([[9, 1, 2, 3]]))
    changed = network(torch.tensor([[9, 1, 7, 3]]))
    assert torch.allclose(x[:, :2], changed[:, :2], atol=1e-6)
    assert not torch.allclose(x[:, 2:], changed[:, 2:], atol=1e-3)


def test_a_history_scores_the_same_beside_any_other(network: Sasrec) -> None:
    rows: list[list[int]] = [[1], [], [2, 3, 4, 5, 6, 7], [8, 0]]
    together = network.score(histories(*rows))
    alone = np.concatenate([network.score(histories(row)) for row in rows])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.isfinite(together).all()


def test_only_the_newest_items_matter(network: Sasrec) -> None:
    scores = network.score(histories([0, 1, 2, 3, 4], [8, 1, 2, 3, 4], [0, 8, 2, 3, 4]))
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)
    assert scores[0] != pytest.approx(scores[2], abs=1e-4)


def test_a_token_stands_before_the_first_item() -> None:
    assert [row.tolist() for row in tokens(histories([3, 1], [], [2]), 9).rows()] == [[9, 3, 1], [9], [9, 2]]


def test_every_item_is_predicted_once_from_what_stood_before_it() -> None:
    rows: list[list[int]] = [list(range(8)), [], [7], [3, 1, 4, 1]]
    sequences, following = cut(tokens(histories(*rows), 9), 4, np.random.default_rng(0))
    assert following.items.tolist() == [item for row in rows for item in row]
    assert sequences.items.tolist() == [token for row in rows for token in [9, *row][:-1]]


def learned(train: Histories, seed: int, epochs: int = 12) -> SasrecStage:
    stage = SasrecStage(train, 12, CONFIG, held_out=None, seed=seed)
    for number in range(1, epochs + 1):
        stage.epoch(number)
    return stage


def test_it_learns_what_comes_next_and_serves_histories_never_seen() -> None:
    """On a circle; histories of one item, and of a length that training had none of."""
    query = histories([3], [11], [4, 5, 6, 7, 8, 9, 10, 11, 0], [9, 2])
    assert learned(cycles(), 0).model.score(query).argmax(1).tolist() == [4, 0, 1, 3]


def test_the_seed_decides_everything() -> None:
    query = histories([3, 4])
    state = torch.random.get_rng_state()
    first, again, other = (learned(cycles(), seed, epochs=2).model.score(query) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_heads_must_divide_the_dimension() -> None:
    with pytest.raises(ValidationError, match="heads"):
        SasrecConfig(dim=10, heads=4)
