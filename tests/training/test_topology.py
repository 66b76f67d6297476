"""The measures of shape, where the answer is known: planted, exhaustive, or by chance."""

import numpy as np
import pytest
import torch

from model.config import NoiseConfig, SpaceName
from model.history import Histories
from model.space import space
from training.topology import (
    Kept,
    graph_neighbour_overlap,
    graph_neighbours,
    nearest,
    noise_overlap,
    radius_degree_spearman,
    shared,
    transposed,
)

CLUSTERS, SIZE, DIM = 6, 5, 8
ITEMS = CLUSTERS * SIZE
GEOMETRIES: tuple[SpaceName, ...] = ("hyperbolic", "euclidean")


def of(rows: list[list[int]]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def clustered() -> tuple[torch.Tensor, Histories]:
    """Every user has all the items of one cluster, and these lie together."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(CLUSTERS, DIM, generator=generator)) * 2
    vectors = centres.repeat_interleave(SIZE, 0) + 0.01 * torch.randn(ITEMS, DIM, generator=generator)
    train = of([list(range(SIZE * c, SIZE * (c + 1))) for c in range(CLUSTERS) for _ in range(3)])
    return vectors, train


def random_graph(seed: int, items: int) -> Histories:
    generator = np.random.default_rng(seed)
    return of([generator.choice(items, 12, replace=False).tolist() for _ in range(80)])


def test_radii_that_fall_with_the_degree_correlate_perfectly() -> None:
    degrees = np.array([1, 5, 9, 40])
    directions = torch.nn.functional.normalize(torch.randn(4, DIM, generator=torch.Generator().manual_seed(0)))
    radii = torch.tensor([3.0, 2.5, 0.4, 0.3])
    assert radius_degree_spearman(directions * radii[:, None], degrees) == pytest.approx(-1)
    assert radius_degree_spearman(directions * (4 - radii)[:, None], degrees) == pytest.approx(1)
    assert np.isnan(radius_degree_spearman(torch.ones(4, DIM), degrees))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_nearest_is_what_all_distances_say(geometry: SpaceName) -> None:
    generator = torch.Generator().manual_seed(1)
    queries, points = (torch.randn(n, DIM, generator=generator) for n in (7, 50))
    found = nearest(queries, points, 5, geometry=geometry)
    for query, indices in zip(queries.double(), found, strict=True):
        distances = space(geometry).square(query.expand(50, DIM), points.double())
        assert indices.tolist() == distances.argsort()[:5].tolist()


def test_what_is_near_depends_on_the_space() -> None:
    """From (2, 0), (0.5, 0) is 1.5 away in both; (2, 1.4) is nearer on a straight line and farther on a geodesic."""
    query, points = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.5, 0.0], [2.0, 1.4]])
    assert nearest(query, points, 1, geometry="hyperbolic").tolist() == [[0]]
    assert nearest(query, points, 1, geometry="euclidean").tolist() == [[1]]
    points, train = torch.cat((query, points)), of([[0, 1], [2]])
    rows = np.array([0])
    assert graph_neighbour_overlap(points, train, 1, rows=rows) == 1.0
    assert graph_neighbour_overlap(points, train, 1, rows=rows, geometry="euclidean") == 0.0


def test_a_point_is_not_its_own_neighbour_and_few_points_have_few() -> None:
    points = torch.randn(4, DIM, generator=torch.Generator().manual_seed(2))
    found = nearest(points, points, 20, geometry="hyperbolic", own=np.arange(4))
    assert [sorted(row) for row in found.tolist()] == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]


def test_graph_neighbours_are_those_of_greatest_cosine() -> None:
    train = random_graph(3, 40)
    users = [{user for user in range(len(train)) if item in train[user]} for item in range(40)]
    found = graph_neighbours(train, 40, 6, np.array([0, 7, 39]))
    for item, row in zip((0, 7, 39), found, strict=True):
        cosines = [
            0.0 if other == item else len(users[item] & users[other]) / np.sqrt(len(users[item]) * len(users[other]))
            for other in range(40)
        ]
        best = sorted(cosines, reverse=True)[:6]
        np.testing.assert_allclose([cosines[other] for other in row], best)


def test_items_that_share_users_with_few_have_few_graph_neighbours() -> None:
    train = of([[0, 1, 1], [2]])  # a repeated pair is one
    assert graph_neighbours(train, 4, 2, np.arange(4)).tolist() == [[1, -1], [0, -1], [-1, -1], [-1, -1]]
    assert np.isnan(graph_neighbour_overlap(torch.randn(4, DIM), train, 2))


def test_planted_neighbourhoods_overlap_wholly() -> None:
    vectors, train = clustered()
    assert graph_neighbour_overlap(vectors, train, SIZE - 1) == 1.0
    # of users, whose nearest are those of the same cluster
    users = torch.stack([vectors[train[user]].mean(0) for user in range(len(train))])
    assert graph_neighbour_overlap(users, transposed(train, ITEMS), 2) == 1.0


def test_points_at_random_overlap_as_chance_has_it() -> None:
    items, k = 300, 20
    vectors = torch.randn(items, 64, generator=torch.Generator().manual_seed(4))
    found = graph_neighbour_overlap(vectors, random_graph(5, items), k)
    assert found == pytest.approx(k / (items - 1), abs=0.02)
    assert found > 0


def test_shares_count_what_is_in_both() -> None:
    a, b = np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), np.array([[4, 9, 1, 0], [1, 2, 3, 4]])
    assert shared(a, b).tolist() == [0.5, 0.0]


def along(kind: str) -> list[Kept]:
    vectors, train = clustered()
    rows = np.arange(0, ITEMS, 2)
    graph = graph_neighbours(train, ITEMS, SIZE - 1, rows)
    config = NoiseConfig.model_validate({"kind": kind, "angular": False})
    generator = torch.Generator().manual_seed(0)
    times = [0, 1, 25, 50]
    return noise_overlap(
        vectors, graph, config, times, max_radius=4.0, geometry="hyperbolic", rows=rows, generator=generator
    )


def test_noise_at_time_0_changes_nothing_and_later_ever_more() -> None:
    for kind in ("directional", "isotropic"):
        kept = along(kind)
        assert kept[0] == Kept(0, 1.0, 1.0)
        assert [at.t for at in kept] == [0, 1, 25, 50]
        shares = [at.neighbours for at in kept]
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] < 1


def test_directional_noise_keeps_clusters_together_that_isotropic_noise_tears_apart() -> None:
    directional, isotropic = along("directional"), along("isotropic")
    assert directional[-1].graph > 2 * isotropic[-1].graph
