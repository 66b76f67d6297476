"""Stage 1: the hyperbolic graph encoder (HGCF propagation in the tangent space at the origin).

Symbols: n users and m items are the n + m nodes of the graph, users first; x points (n + m, d + 1);
z tangent vectors (n + m, d); A adjacency, D degrees of A + I.
Reference: [1] Sun et al., HGCF: Hyperbolic Graph Convolution Networks for Collaborative Filtering, WWW 2021.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor, nn

from model.config import EncoderConfig
from model.geometry import cap_radius, log0
from model.history import Histories
from model.manifold import manifold_parameter

__all__ = ["Encoding", "GraphEncoder", "Propagation"]


class Encoding(NamedTuple):
    """What the encoder knows of the users and items.

    Attributes:
        users: tangent vectors of the trained users, (n, d).
        items: tangent vectors that items are ranked by, (m, d).
        messages: what an item passes on to the users it is in the history of, (m, d).
    """

    users: Tensor
    items: Tensor
    messages: Tensor


class Propagation:
    """The operator D^-1 (A + I) of a user-item graph, kept as the users' rows of A and their transpose.

    A is symmetric, so the backward pass needs no other matrix: (D^-1 (A + I))^T = (A + I) D^-1.

    Args:
        graph: one row of item indices a user.
        n_items: size of the catalogue.
        device: where to multiply.
    """

    def __init__(self, graph: Histories, n_items: int, device: torch.device) -> None:
        self.n_users = len(graph)
        ones = np.ones(len(graph.items), np.float32)
        # a copy, since it is sorted in place below and a history's order means something
        rows = scipy.sparse.csr_matrix((ones, graph.items, graph.indptr), shape=(self.n_users, n_items), copy=True)
        degrees = np.concatenate((graph.lengths, np.bincount(graph.items, minlength=n_items))) + 1.0
        self.by_user = _csr(rows, device)
        self.by_item = _csr(rows.T.tocsr(), device)
        self.inverse_degrees = torch.from_numpy(1 / degrees).float().unsqueeze(-1).to(device)

    def __call__(self, z: Tensor) -> Tensor:
        """(n + m, d) -> (n + m, d)."""
        result: Tensor = _Propagated.apply(z, self)  # type: ignore[no-untyped-call]
        return result

    def neighbours(self, z: Tensor) -> Tensor:
        """(A + I) z, the sum of every node and its neighbours: (n + m, d) -> (n + m, d)."""
        users, items = z[: self.n_users], z[self.n_users :]
        return torch.cat((users + self.by_user @ items, items + self.by_item @ users))


class GraphEncoder(nn.Module):
    """Embeddings of all nodes, propagated over the graph.

    Args:
        n_users: number of users n.
        n_items: number of items m.
        config: dimension, layers, parametrisation.
        generator: source of the initial embeddings.
    """

    def __init__(self, n_users: int, n_items: int, config: EncoderConfig, *, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.n_users = n_users
        initial = torch.randn(n_users + n_items, config.dim, generator=generator) * config.init_std
        self.embedding: nn.Parameter = (
            manifold_parameter(initial) if config.parametrisation == "manifold" else nn.Parameter(initial)
        )

    def tangents(self) -> Tensor:
        """The embeddings before propagation, in the tangent space at the origin: (n + m, d)."""
        return log0(self.embedding).float() if self.config.parametrisation == "manifold" else self.embedding

    def forward(self, propagate: Propagation) -> Encoding:
        """z^(l+1) = D^-1 (A + I) z^(l); the result is the sum of layers 1..L [1, eq. 8-9], radius capped."""
        layers = [self.tangents()]
        for _ in range(self.config.layers):
            layers.append(propagate(layers[-1]))
        capped = cap_radius(torch.stack(layers[1:]).sum(0), limit=self.config.max_radius)
        messages = torch.stack(layers[:-1]).sum(0)[self.n_users :]
        return Encoding(capped[: self.n_users], capped[self.n_users :], messages)


class _Propagated(torch.autograd.Function):
    """Propagation and its transpose, without a graph of the operations in between."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, propagation: Propagation) -> Tensor:
        ctx.propagation = propagation
        return propagation.neighbours(z).mul_(propagation.inverse_degrees)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.propagation.neighbours(grads[0] * ctx.propagation.inverse_degrees), None


def _csr(matrix: scipy.sparse.csr_matrix, device: torch.device) -> Tensor:
    matrix.sum_duplicates()  # sorts as well
    with warnings.catch_warnings():
        # said once in every process, of a format whose products are all that is needed here
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr),
            torch.from_numpy(matrix.indices),
            torch.from_numpy(matrix.data),
            matrix.shape,
            check_invariants=True,
        ).to(device)
