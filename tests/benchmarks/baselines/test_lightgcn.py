"""LightGCN against the library's own way of doing it."""

import numpy as np
import pytest
import torch
from torch_geometric.nn.models import LightGCN

from benchmarks.baselines.lightgcn import LightGcnConfig, LightGcnStage, VectorRanker, draw_negatives
from model.history import Histories
from tests.benchmarks.baselines.planted import communities, histories, nothing

CONFIG = LightGcnConfig(dim=5, layers=2)


def stage(train: Histories, n_items: int) -> LightGcnStage:
    return LightGcnStage(train, n_items, CONFIG, held_out=None, seed=0)


def test_embeddings_and_gradients_are_those_of_the_library_on_an_edge_index() -> None:
    train = histories([0, 2], [], [1, 2, 3])
    ours = stage(train, 5)
    theirs = LightGCN(8, CONFIG.dim, CONFIG.layers)
    theirs.load_state_dict(ours.model.state_dict())
    users = torch.from_numpy(train.owners())
    items = torch.from_numpy(train.items.astype(np.int64)) + len(train)
    edges = torch.stack((torch.cat((users, items)), torch.cat((items, users))))
    weights = torch.randn(8, CONFIG.dim, generator=torch.Generator().manual_seed(0))
    vectors = []
    for model, graph in ((ours.model, ours.graph), (theirs, edges)):
        vectors.append(model.get_embedding(graph))
        (vectors[-1] * weights).sum().backward()
    assert torch.allclose(vectors[0], vectors[1], atol=1e-6)
    gradients = ours.model.embedding.weight.grad, theirs.embedding.weight.grad
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_the_loss_is_the_librarys() -> None:
    train = histories([0, 2], [1, 2, 3])
    ours = LightGcnStage(train, 5, CONFIG.model_copy(update={"regularisation": 0.3}), held_out=None, seed=0)
    users, positives, negatives = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 3]), torch.tensor([4, 0, 0])
    ranks = [ours.model(ours.graph, torch.stack((users, items + 2))) for items in (positives, negatives)]
    nodes = torch.cat((users, positives + 2, negatives + 2))
    expected = ours.model.recommendation_loss(*ranks, node_id=nodes, lambda_reg=0.3)
    assert ours.loss(users, positives, negatives).item() == pytest.approx(expected.item(), rel=1e-5)


def test_negatives_are_what_a_user_has_not_had_all_equally_often() -> None:
    train = histories([0, 1, 2, 3], [], [4, 0], [0, 1, 2, 3, 4, 5])
    generator = np.random.default_rng(0)
    drawn = np.stack([draw_negatives(train, 6, generator) for _ in range(600)])
    for column, owner in enumerate(train.owners()):
        found = drawn[:, column]
        had = set(train[owner].tolist())
        assert not had & set(found.tolist())
        if owner == 3:
            assert (found == -1).all()
        else:
            counts = np.bincount(found[found >= 0], minlength=6)[[item for item in range(6) if item not in had]]
            assert counts.min() > 0.7 * counts.mean()


def test_the_ranker_knows_users_by_their_index_and_ignores_histories() -> None:
    ranker = VectorRanker(torch.eye(2), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.6]]))
    users = np.array([1, 0])
    assert ranker.rank(users, nothing(2), nothing(2), 2).tolist() == [[1, 2], [0, 2]]
    assert ranker.rank(users, histories([0], [1]), histories([1], [0]), 2).tolist() == [[2, 0], [2, 1]]
    with pytest.raises(IndexError):
        ranker.rank(np.array([2]), nothing(1), nothing(1), 2)


def test_training_separates_communities_and_depends_on_the_seed_alone() -> None:
    train, held_out = communities()
    trained = [LightGcnStage(train, 20, CONFIG, held_out=held_out, seed=seed) for seed in (0, 0, 1)]
    before = trained[0].score()
    losses = [[each.epoch(number) for number in range(1, 16)] for each in trained]
    assert losses[0] == losses[1] != losses[2]
    assert losses[0][-1] < losses[0][0]
    assert trained[0].score() > before + 0.05
