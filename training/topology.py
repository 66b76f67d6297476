"""How much of the interaction graph's shape the embeddings show, and how much of it noise leaves.

Two measures of shape. Hierarchy: Spearman's rank correlation of radius and degree; negative where what has many
interactions lies near the origin. Neighbourhood: the share of a point's k nearest points, in the model's space,
that are among its k graph neighbours. Graph neighbours of item i are the k items j with the greatest cosine of their
sets of users, |U_i n U_j| / sqrt(|U_i| |U_j|), ties by index; an item that shares users with fewer than k others does
not count. Of users, the same with the roles exchanged: `transposed` interactions.

Symbols: p points (items or users), d coordinates, b rows that are looked at, k neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.stats import rankdata
from torch import Tensor

from model.config import NoiseConfig, SpaceName
from model.geometry import exp0, radius
from model.history import Histories
from model.noise import forward_noise, noised
from model.schedule import signal_levels
from training.evaluate import top_k

__all__ = [
    "Kept",
    "graph_neighbour_overlap",
    "graph_neighbours",
    "nearest",
    "noise_overlap",
    "overlap",
    "radius_degree_spearman",
    "shared",
    "spearman",
    "transposed",
]

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

CHUNK_CELLS = 4_000_000  # of a rows x points matrix held at once


@dataclass(frozen=True)
class Kept:
    """What noise at one time leaves of the neighbourhoods.

    Attributes:
        t: the time.
        neighbours: mean share of the k nearest points that were so without noise.
        graph: mean share of them that are graph neighbours, NaN where no point has k of those.
    """

    t: int
    neighbours: float
    graph: float


def spearman(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> float:
    """Rank correlation of (n,) and (n,), ties at their mean rank; NaN where either is constant or n < 2."""
    ranks = np.stack((rankdata(a), rankdata(b)))
    if (ranks == ranks[:, :1]).all(1).any():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def radius_degree_spearman(vectors: Tensor, degrees: Int64) -> float:
    """Spearman's correlation of the radii of tangent vectors (p, d) with degrees (p,)."""
    return spearman(radius(vectors.double()).squeeze(-1).numpy(), degrees)


def nearest(queries: Tensor, points: Tensor, k: int, *, geometry: SpaceName, own: Int64 | None = None) -> Int64:
    """Indices of the k points nearest to each query, in float64.

    Shapes: tangent vectors (b, d), (p, d) -> (b, k'), k' = min(k, candidates).

    Args:
        geometry: what distances are measured in.
        own: index (b,) of each query among the points, which is left out.
    """
    x, y = _lifted(queries.double(), points.double(), geometry)
    k = min(k, len(points) - (own is not None))
    found = []
    for rows in _chunks(len(queries), len(points)):
        product = x[rows] @ y.mT
        if own is not None:
            product[torch.arange(len(product)), torch.from_numpy(own[rows])] = -torch.inf
        found.append(product.topk(k, dim=1).indices)
    return torch.cat(found).numpy() if found else np.zeros((0, k), np.int64)


def graph_neighbours(train: Histories, n_items: int, k: int, rows: Int64) -> Int32:
    """The k graph neighbours of the items in `rows`: (b, k), -1 where there are no more."""
    pairs = (np.ones(len(train.items), np.float32), (train.owners(), train.items))
    by_user = csr_array(pairs, shape=(len(train), n_items))
    by_user.data[:] = 1.0  # a repeated pair is one
    by_item = by_user.T.tocsr()
    degrees = np.bincount(by_user.indices, minlength=n_items)
    by_user.data /= np.sqrt(degrees, dtype=np.float32)[by_user.indices]
    found = []
    for chunk in _chunks(len(rows), n_items):
        cosines = (by_item[rows[chunk]] @ by_user).toarray()  # but for the factor 1 / sqrt(|U_i|) of a whole row
        cosines[cosines == 0] = -np.inf
        itself = Histories.of([np.array([row], np.int32) for row in rows[chunk]])
        found.append(top_k(cosines, itself, k))
    return np.concatenate(found) if found else np.zeros((0, k), np.int32)


def shared(a: Int64 | Int32, b: Int64 | Int32) -> Float64:
    """The share of each row of a (b, k) that is in the same row of b (b, k'): (b,). Rows hold no index twice."""
    both = np.sort(np.concatenate((a, b), axis=1), axis=1)
    twice: Float64 = (both[:, 1:] == both[:, :-1]).sum(1) / max(a.shape[1], 1)
    return twice


def graph_neighbour_overlap(
    vectors: Tensor,
    train: Histories,
    k: int = 20,
    *,
    rows: Int64 | None = None,
    geometry: SpaceName = "hyperbolic",
) -> float:
    """Mean share of an item's k nearest that are among its k graph neighbours; chance is k / (items - 1).

    Args:
        vectors: the items' tangent vectors (p, d), on the CPU.
        train: the graph, a row of items for every user.
        rows: the items to look at, by default all.
        geometry: what distances are measured in.

    Returns:
        NaN where no item looked at shares users with k others.
    """
    rows = np.arange(len(vectors)) if rows is None else rows
    return overlap(vectors, graph_neighbours(train, len(vectors), k, rows), rows, geometry=geometry)


def overlap(vectors: Tensor, graph: Int32, rows: Int64, *, geometry: SpaceName) -> float:
    """`graph_neighbour_overlap` with known graph neighbours (b, k) of the points in `rows` (b,)."""
    return _mean_shared(nearest(vectors[rows], vectors, graph.shape[1], geometry=geometry, own=rows), graph)


def noise_overlap(
    vectors: Tensor,
    graph: Int32,
    config: NoiseConfig,
    times: Sequence[int],
    *,
    max_radius: float,
    geometry: SpaceName,
    rows: Int64,
    generator: torch.Generator,
) -> list[Kept]:
    """Noise all points at once, as the forward process does, and compare neighbourhoods with those of before.

    The noise's statistics are those of the points, its directions (where it has any) each point's own. The points
    in `rows` are looked at; all are candidates.

    Args:
        vectors: tangent vectors (p, d), on the CPU.
        graph: graph neighbours of `rows`, (b, k).
        config: the forward process.
        times: between 0 (no noise) and T.
        max_radius: where a radial process clamps.
        geometry: what distances are measured in.
        rows: (b,).
        generator: of the noise, the same at all times.
    """
    k = graph.shape[1]
    levels = torch.from_numpy(signal_levels(config)).float()
    mu, sigma = vectors.mean(0), vectors.std(0, correction=0)
    noise = forward_noise(torch.randn(vectors.shape, generator=generator), vectors, mu, sigma, config)
    before = nearest(vectors[rows], vectors, k, geometry=geometry, own=rows)
    kept = []
    for t in times:
        z_t = noised(vectors, noise, levels[t], config, max_radius=max_radius)
        after = nearest(z_t[rows], z_t, k, geometry=geometry, own=rows)
        kept.append(Kept(t, float(shared(before, after).mean()), _mean_shared(after, graph)))
    return kept


def transposed(train: Histories, n_items: int) -> Histories:
    """A row of users for every item: the graph in which users are the items."""
    return Histories.from_pairs(train.items.astype(np.int64), train.owners().astype(np.int32), n_items)


def _lifted(queries: Tensor, points: Tensor, geometry: SpaceName) -> tuple[Tensor, Tensor]:
    """Coordinates whose products rise as the distance falls: (b, d), (p, d) -> (b, d + 1), (p, d + 1)."""
    if geometry == "hyperbolic":
        # <x, y>_L; the time coordinate's sign goes into x
        return exp0(queries) * torch.tensor([-1.0] + [1.0] * queries.shape[1]).to(queries), exp0(points)
    half_squares = points.square().sum(-1, keepdim=True) / 2
    # u.v - |v|^2 / 2
    return torch.cat((torch.ones_like(queries[:, :1]), queries), 1), torch.cat((-half_squares, points), 1)


def _mean_shared(found: Int64, graph: Int32) -> float:
    """Over the rows with all k graph neighbours."""
    whole = (graph >= 0).all(1)
    return float(shared(found[whole], graph[whole]).mean()) if whole.any() else float("nan")


def _chunks(rows: int, points: int) -> list[slice]:
    size = max(CHUNK_CELLS // max(points, 1), 1)
    return [slice(start, start + size) for start in range(0, rows, size)]
