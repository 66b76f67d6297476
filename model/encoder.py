"""Stage 1: the hyperbolic graph encoder (HGCF propagation in the tangent space at the origin).

Symbols: n users and m items are the n + m nodes of the graph, users first; x points (n + m, d + 1);
z tangent vectors (n + m, d); A adjacency, D degrees of A + I.
Reference: [1] Sun et al., HGCF: Hyperbolic Graph Convolution Networks for Collaborative Filtering, WWW 2021.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
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
    """The operator D^-1 (A + I) of a user-item graph and its transpose, as sparse rows.

    Both are kept because the backward pass multiplies by the transpose, which torch would rebuild every time.
    """

    def __init__(self, graph: Histories, n_items: int, device: torch.device) -> None:
        n_users = len(graph)
        n = n_users + n_items
        users, items = graph.owners(), graph.items.astype(np.int64) + n_users
        nodes = np.arange(n)
        rows = np.concatenate((users, items, nodes))
        columns = np.concatenate((items, users, nodes))
        weights = 1.0 / np.bincount(rows, minlength=n)[rows]
        self.forward = _csr(rows, columns, weights, n).to(device)
        self.transpose = _csr(columns, rows, weights, n).to(device)

    def __call__(self, z: Tensor) -> Tensor:
        """(n, d) -> (n, d)."""
        result: Tensor = _SparseProduct.apply(z, self.forward, self.transpose)  # type: ignore[no-untyped-call]
        return result


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


class _SparseProduct(torch.autograd.Function):
    """Sparse times dense, with the transposed matrix given for the backward pass."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.transpose = transpose
        return matrix @ z

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return ctx.transpose @ grads[0], None, None


def _csr(rows: Any, columns: Any, weights: Any, n: int) -> Tensor:
    order = np.lexsort((columns, rows))
    indptr = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=n))))
    with warnings.catch_warnings():
        # said once in every process, of a format whose products are all that is needed here
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta", UserWarning)
        return torch.sparse_csr_tensor(
            torch.from_numpy(indptr),
            torch.from_numpy(columns[order]),
            torch.from_numpy(weights[order].astype(np.float32)),
            (n, n),
            check_invariants=True,
        )
