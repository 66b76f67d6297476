"""LightGCN, of the library PyTorch Geometric: embeddings of users and items, smoothed over the graph they form.

It knows the users it was trained on by their index and cannot serve others, nor what they do later.
Symbols: n users and m items are the n + m nodes of the graph, users first; d coordinates; b pairs of a batch.
References: [1] He et al., LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation, SIGIR 2020.
[2] Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.
"""

import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from scipy.sparse import bmat, csr_matrix
from torch import Tensor, nn
from torch.nn.functional import embedding
from torch_geometric.nn.conv import LGConv
from torch_geometric.nn.models import LightGCN

from benchmarks.baselines.baseline import Settings
from benchmarks.baselines.epochs import EpochStage
from benchmarks.baselines.matrix import interactions
from benchmarks.baselines.space import Space
from model.config import Frozen
from model.history import Histories
from training.evaluate import top_k

__all__ = ["SPACE", "LightGcnConfig", "LightGcnStage", "VectorRanker", "draw_negatives", "make_lightgcn"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

SPACE: Space = {
    "dim": ("choice", (64, 128)),
    "layers": ("int", (1, 4)),
    "learning_rate": ("log", (1e-3, 1e-1)),
    "regularisation": ("log", (1e-5, 1e-1)),
}

BATCH_PAIRS = 16_384
LEAST_STEPS = 20  # of an epoch, where the data are fewer
EPOCHS, PATIENCE = 300, 10
REDRAWS = 4


class LightGcnConfig(Frozen):
    """Settings of LightGCN."""

    dim: Annotated[int, Field(ge=1, le=1024)] = Field(64, description="dimension d of the embeddings")
    layers: Annotated[int, Field(ge=1, le=8)] = Field(3, description="graph propagation layers")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(0.01, description="step size of Adam")
    regularisation: Annotated[float, Field(ge=0)] = Field(
        1e-3, description="weight of the squared embeddings of a pair and its negative"
    )


class LightGcnStage(EpochStage):
    """LightGCN under training: pairs against items the user has not had [2].

    Args:
        train: the graph.
        n_items: catalogue size m.
        config: settings.
        held_out: the users' next items, to score by; None does without.
        seed: of all randomness.
    """

    model: LightGCN

    def __init__(
        self, train: Histories, n_items: int, config: LightGcnConfig, *, held_out: Histories | None, seed: int
    ) -> None:
        self.n_items, self.regularisation = n_items, config.regularisation
        self.graph = _normalised_graph(train, n_items)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LightGCN(len(train) + n_items, config.dim, config.layers, normalize=False)
        # its own convolution would transpose the graph for every gradient
        model.convs = nn.ModuleList(_SymmetricConvolution(normalize=False) for _ in model.convs)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        super().__init__(
            "lightgcn",
            model,
            optimiser,
            train=train,
            held_out=held_out,
            seed=seed,
            epochs=EPOCHS,
            patience=PATIENCE,
        )

    def losses(self, _number: int, generator: np.random.Generator) -> Iterator[Tensor]:
        negatives = draw_negatives(self.train, self.n_items, generator)
        usable = generator.permutation(np.flatnonzero(negatives >= 0))
        users, positives = self.train.owners(), self.train.items
        size = min(BATCH_PAIRS, max(len(usable) // LEAST_STEPS, 1))
        for start in range(0, len(usable), size):
            batch = usable[start : start + size]
            yield self.loss(*(torch.from_numpy(part[batch].astype(np.int64)) for part in (users, positives, negatives)))

    @torch.no_grad()
    def ranker(self) -> "VectorRanker":
        users, items = self.model.get_embedding(self.graph).split([len(self.train), self.n_items])
        return VectorRanker(users, items)

    def loss(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Mean BPR loss plus the mean squared embeddings, those before propagation [1, eq. 15]; all (b,)."""
        nodes = (users, positives + len(self.train), negatives + len(self.train))
        vectors, initial = self.model.get_embedding(self.graph), self.model.embedding.weight
        # rows by `embedding`, as the gradient of indexing takes several times longer than all the rest
        u, i, j = (embedding(part, vectors) for part in nodes)
        fit = self.model.recommendation_loss((u * i).sum(-1), (u * j).sum(-1), lambda_reg=0.0)
        # the sum over the batch of squared embeddings, for which the library would copy them out
        times = torch.bincount(torch.cat(nodes), minlength=len(initial))
        penalty = (times * initial.square().sum(-1)).sum() / len(users)
        loss: Tensor = fit + self.regularisation * penalty
        return loss


def make_lightgcn(
    train: Histories, n_items: int, settings: Settings, *, held_out: Histories | None, seed: int
) -> LightGcnStage:
    """See `trained.MakeStage`."""
    config = LightGcnConfig.model_validate(settings)
    return LightGcnStage(train, n_items, config, held_out=held_out, seed=seed)


class VectorRanker:
    """Ranks for known users by the product of their vector and an item's.

    Args:
        users: (n, d).
        items: (m, d).
    """

    def __init__(self, users: Tensor, items: Tensor) -> None:
        self.users, self.items = users, items

    def rank(self, users: Int64, histories: Histories, masked: Histories, k: int) -> Int32:
        """See `training.evaluate.Ranker`; histories make no difference.

        Raises:
            IndexError: a user is not of the training data.
        """
        scores = self.users[torch.from_numpy(users)] @ self.items.T
        return top_k(scores.numpy(), masked, k)


def draw_negatives(train: Histories, n_items: int, generator: np.random.Generator) -> Int64:
    """For every pair an item that its user has not had, all such being equally likely: (nnz,) int64.

    -1 where a few draws met none: of users who have had almost everything.
    """
    owners = train.owners()
    had = np.sort(owners * n_items + train.items)
    drawn = np.full(len(owners), -1, np.int64)
    for _ in range(REDRAWS):
        open_ = np.flatnonzero(drawn < 0)
        candidates = generator.integers(0, n_items, len(open_))
        keys = owners[open_] * n_items + candidates
        new = had[np.minimum(np.searchsorted(had, keys), len(had) - 1)] != keys
        drawn[open_[new]] = candidates[new]
    return drawn


class _SymmetricProduct(torch.autograd.Function):
    """Product of a symmetric sparse matrix, which serves the backward pass as it is."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        ctx.matrix = matrix
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix @ grads[0], None


class _SymmetricConvolution(LGConv):  # type: ignore[misc]
    """The library's convolution for a graph given as a symmetric matrix."""

    def message_and_aggregate(self, adj_t: Tensor, x: Tensor) -> Tensor:
        product: Tensor = _SymmetricProduct.apply(x, adj_t)  # type: ignore[no-untyped-call]
        return product


def _normalised_graph(train: Histories, n_items: int) -> Tensor:
    """D^-1/2 A D^-1/2 of the graph of users and items: (n + m, n + m), sparse rows."""
    pairs = interactions(train, n_items)
    adjacency = csr_matrix(bmat([[None, pairs], [pairs.T, None]], format="csr"))
    scale = 1 / np.sqrt(np.maximum(np.diff(adjacency.indptr), 1))
    rows = np.repeat(np.arange(adjacency.shape[0]), np.diff(adjacency.indptr))
    weights = (scale[rows] * scale[adjacency.indices]).astype(np.float32)
    with warnings.catch_warnings():
        # said once in every process, of a format whose products are all that is needed here
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(adjacency.indptr.astype(np.int64)),
            torch.from_numpy(adjacency.indices.astype(np.int64)),
            torch.from_numpy(weights),
            adjacency.shape,
            check_invariants=True,
        )
