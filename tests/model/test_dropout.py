import pytest
import torch

from model.dropout import Dropout


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.999])
def test_so_many_values_are_dropped_and_the_mean_stays(share: float) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Dropout(share)(torch.ones(1000, 1000))
    assert (made == 0).float().mean().item() == pytest.approx(share, abs=4e-3)
    assert made.mean().item() == pytest.approx(1, abs=0.1)
    assert len(made.unique()) == (1 if share == 0 else 2)


def test_every_place_is_dropped_as_often() -> None:
    """A mask is cut out of numbers of eight bytes; of rows that are no multiple of them too."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = torch.stack([Dropout(0.3)(torch.ones(3, 7)) for _ in range(4000)])
    assert (made == 0).float().mean(0).flatten().tolist() == pytest.approx([0.3] * 21, abs=0.035)


def test_gradients_flow_through_what_is_kept() -> None:
    x = torch.ones(1000, requires_grad=True)
    made = Dropout(0.5)(x)
    made.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, made.detach())


def test_nothing_is_dropped_when_serving() -> None:
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x
