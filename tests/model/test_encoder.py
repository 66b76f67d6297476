import numpy as np
import pytest
import torch

from model.config import EncoderConfig
from model.encoder import GraphEncoder, Propagation
from model.geometry import radius
from model.history import Histories

GRAPH = Histories.of([np.array(row, np.int32) for row in ([0, 1], [1], [], [2, 1, 0])])
CPU = torch.device("cpu")


def dense_operator() -> torch.Tensor:
    """D^-1 (A + I), written out."""
    adjacency = torch.eye(7)
    for user in range(4):
        for item in GRAPH[user]:
            adjacency[user, 4 + int(item)] = adjacency[4 + int(item), user] = 1
    return adjacency / adjacency.sum(1, keepdim=True)


def test_propagation_is_the_normalised_adjacency_in_both_directions() -> None:
    z = torch.randn(7, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    result = Propagation(GRAPH, 3, CPU)(z)
    torch.testing.assert_close(result, dense_operator() @ z)
    gradient = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))
    result.backward(gradient)  # type: ignore[no-untyped-call]
    assert z.grad is not None
    torch.testing.assert_close(z.grad, dense_operator().T @ gradient)


def test_propagation_leaves_the_histories_in_their_order() -> None:
    graph = Histories.of([np.array([5, 1, 3], np.int32), np.array([4, 0], np.int32)])
    Propagation(graph, 6, CPU)
    assert [row.tolist() for row in graph.rows()] == [[5, 1, 3], [4, 0]]


@pytest.mark.parametrize("parametrisation", ["manifold", "tangent"])
def test_the_encoding_is_the_sum_of_the_layers(parametrisation: str) -> None:
    config = EncoderConfig.model_validate({"dim": 3, "layers": 2, "parametrisation": parametrisation, "init_std": 0.01})
    encoder = GraphEncoder(4, 3, config, generator=torch.Generator().manual_seed(0))
    encoding = encoder(Propagation(GRAPH, 3, CPU))
    first = dense_operator() @ encoder.tangents()
    expected = first + dense_operator() @ first
    # the cap changes radii this small by less than the tolerance
    torch.testing.assert_close(torch.cat((encoding.users, encoding.items)), expected, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(encoding.messages, (encoder.tangents() + first)[4:])
    # what a user receives from their items is the mean message, but for the self-loop
    own = (encoder.tangents() + first)[0]
    torch.testing.assert_close(expected[0], (encoding.messages[[0, 1]].sum(0) + own) / 3)


def test_radii_are_capped_and_gradients_reach_the_points() -> None:
    config = EncoderConfig(dim=3, init_std=1.0, max_radius=2.0)
    encoder = GraphEncoder(4, 3, config, generator=torch.Generator().manual_seed(0))
    encoding = encoder(Propagation(GRAPH, 3, CPU))
    assert (radius(encoding.items) <= 2.0).all()
    encoding.items.sum().backward()
    assert encoder.embedding.grad is not None
    assert torch.isfinite(encoder.embedding.grad).all()


def test_the_generator_alone_decides_the_start() -> None:
    made = [GraphEncoder(4, 3, EncoderConfig(dim=3), generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(made[0].embedding, made[1].embedding)
    assert not torch.equal(made[0].embedding, made[2].embedding)
