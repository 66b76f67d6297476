import numpy as np
import pytest
import torch
from torch import Tensor

from model.geometry import distance
from model.history import Histories
from training.config import RankingConfig
from training.losses import RankingLoss

B, M, DIM = 3, 400, 4
POSITIVES = Histories.of([np.array(row, np.int32) for row in ([1, 2], [3], [399, 0, 7])])
MASKED = Histories.of([np.array(row, np.int32) for row in ([5], [], [6, 8])])
COUNTS = np.random.default_rng(0).integers(0, 100, M)


def vectors(n: int, seed: int) -> Tensor:
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def loss(config: RankingConfig, weights: Tensor | None = None, *, seed: int = 0) -> Tensor:
    users, items = vectors(B, 1), vectors(M, 2)
    given = torch.ones(len(POSITIVES.items)) if weights is None else weights
    ranking = RankingLoss(config, COUNTS, users=B, geometry="hyperbolic")
    return ranking(users, items, POSITIVES, MASKED, given, np.random.default_rng(seed))


def squares() -> Tensor:
    users, items = vectors(B, 1).detach(), vectors(M, 2).detach()
    return distance(users.unsqueeze(1).expand(B, M, DIM), items.expand(B, M, DIM)).square()


def test_the_full_softmax_is_the_cross_entropy_without_masked_items() -> None:
    expected = torch.tensor(0.0)
    for row in range(B):
        logits = -squares()[row] / 0.7
        logits[MASKED[row]] = -torch.inf
        expected = expected - torch.log_softmax(logits, dim=-1)[POSITIVES[row]].sum()
    torch.testing.assert_close(loss(RankingConfig(tau=0.7)), expected, rtol=1e-4, atol=1e-4)


def test_weights_are_the_pairs() -> None:
    one = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    expected = -torch.log_softmax(-squares()[1], dim=-1)[3]
    torch.testing.assert_close(loss(RankingConfig(), one), expected, rtol=1e-4, atol=1e-4)


def test_the_sampled_softmax_approaches_the_full_one_of_others_items() -> None:
    """The logQ correction makes the sampled sum over the others an unbiased estimate of the full one."""
    expected = torch.tensor(0.0)
    for row in range(B):
        others = -squares()[row]
        others[np.concatenate((MASKED[row], POSITIVES[row]))] = -torch.inf
        for item in POSITIVES[row]:
            own = -squares()[row, item]
            expected = expected + torch.logaddexp(own, torch.logsumexp(others, -1)) - own
    config = RankingConfig(full_up_to=1, samples=200_000)
    torch.testing.assert_close(loss(config), expected, rtol=5e-3, atol=0)
    few = [float(loss(RankingConfig(full_up_to=1, samples=64), seed=seed).detach()) for seed in range(300)]
    assert np.mean(few) == pytest.approx(float(expected), rel=0.05)
    assert np.std(few) > 0


def test_the_hinge_compares_with_the_nearest_drawn_item_that_is_not_one_s_own() -> None:
    """With draws enough to hit every item, the nearest of all others counts."""
    expected = torch.tensor(0.0)
    for row in range(B):
        others = squares()[row]
        others[np.concatenate((MASKED[row], POSITIVES[row]))] = torch.inf
        expected = expected + (squares()[row, POSITIVES[row]] - others.min() + 0.3).relu().sum()
    for full_up_to, samples in ((B * M, 1), (B * M - 1, 20_000)):
        config = RankingConfig(loss="hinge", margin=0.3, negatives=20_000, full_up_to=full_up_to, samples=samples)
        torch.testing.assert_close(loss(config), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        RankingConfig(),
        RankingConfig(full_up_to=1, samples=32),
        RankingConfig(loss="hinge"),
        RankingConfig(loss="hinge", full_up_to=1, samples=32),
    ],
)
@pytest.mark.parametrize("size", [0.0, 1e-12, 4.0])
def test_gradients_are_finite_wherever_the_vectors_lie(config: RankingConfig, size: float) -> None:
    users, items = (
        (torch.nn.functional.normalize(vectors(n, n).detach(), dim=-1) * size).requires_grad_() for n in (B, M)
    )
    ranking = RankingLoss(config, COUNTS, users=B, geometry="hyperbolic")
    weights = torch.ones(len(POSITIVES.items))
    ranking(users, items, POSITIVES, MASKED, weights, np.random.default_rng(0)).backward()  # type: ignore[no-untyped-call]
    for tensor in (users, items):
        assert tensor.grad is not None
        assert torch.isfinite(tensor.grad).all()
