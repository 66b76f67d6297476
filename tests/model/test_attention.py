import numpy as np
import pytest
import torch

from model.attention import Attention, normalised
from model.config import AttentionConfig
from model.history import Histories

DIM, N_ITEMS, LENGTH = 8, 30, 5
VECTORS = torch.randn(N_ITEMS, DIM, generator=torch.Generator().manual_seed(0))


def attention(heads: int = 2) -> Attention:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = Attention(DIM, AttentionConfig(length=LENGTH, heads=heads, hidden=16, dropout=0.5))
        torch.nn.init.normal_(made.by_age)
    return made.eval()


def histories(*rows: list[int]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def test_messages_have_mean_0_and_variance_1() -> None:
    messages = normalised(VECTORS)
    torch.testing.assert_close(messages.mean(-1), torch.zeros(N_ITEMS), rtol=0, atol=1e-6)
    torch.testing.assert_close(messages.var(-1, correction=0), torch.ones(N_ITEMS), rtol=0, atol=1e-3)
    torch.testing.assert_close(normalised(VECTORS * 7 + 2), messages, rtol=0, atol=1e-4)


@pytest.mark.parametrize("heads", [1, 3])
def test_what_is_learned_at_every_place_is_what_is_asked_of_the_newest(heads: int) -> None:
    """Training predicts from all places at once, serving from the newest."""
    made, row = attention(heads), [3, 17, 0, 29, 5]
    at_once = made(VECTORS[torch.tensor([row])], torch.tensor([len(row)]))
    one_by_one = made.newest(histories(*(row[: place + 1] for place in range(len(row)))), VECTORS)
    torch.testing.assert_close(at_once, one_by_one, rtol=0, atol=1e-5)


def test_no_place_knows_later_ones() -> None:
    made = attention()
    first, other = made(VECTORS[torch.tensor([[3, 17, 0, 29], [3, 17, 8, 9]])], torch.tensor([4, 4])).view(2, 4, DIM)
    torch.testing.assert_close(first[:2], other[:2], rtol=0, atol=1e-6)
    assert not torch.allclose(first[2:], other[2:], atol=1e-3)


def test_what_follows_a_row_makes_no_difference() -> None:
    made = attention()
    rows = VECTORS[torch.tensor([[3, 17, 5, 6], [1, 2, 8, 9]])]
    alone = [made(rows[:1, :2], torch.tensor([2])), made(rows[1:, :3], torch.tensor([3]))]
    torch.testing.assert_close(made(rows, torch.tensor([2, 3])), torch.cat(alone), rtol=0, atol=1e-6)


def test_only_the_newest_items_count_and_their_order_does() -> None:
    made = attention()
    rows = histories([9, 1, 2, 3, 4, 5], [8, 7, 1, 2, 3, 4, 5], [2, 1, 3, 4, 5], [1, 2, 3, 5, 4])
    same, too, swapped, other = made.newest(rows, VECTORS)
    torch.testing.assert_close(same, too, rtol=0, atol=1e-6)
    assert not torch.allclose(same, swapped, atol=1e-3)
    assert not torch.allclose(same, other, atol=1e-3)


def test_an_empty_history_gives_zeros_and_so_does_none() -> None:
    made = attention()
    assert (made.newest(histories([], [1]), VECTORS)[0] == 0).all()
    assert made.newest(histories(), VECTORS).shape == (0, DIM)
    assert (made.newest(histories([]), VECTORS) == 0).all()


def test_gradients_are_finite_and_reach_every_parameter() -> None:
    made = attention().train()
    vectors = VECTORS.clone().requires_grad_()
    made(vectors[torch.tensor([[1, 2, 3, 4]])], torch.tensor([3])).square().sum().backward()
    made.newest(histories([1, 2, 3, 4, 5], [], [7]), vectors).square().sum().backward()  # type: ignore[no-untyped-call]
    for tensor in (vectors, *made.parameters()):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad != 0).any()
