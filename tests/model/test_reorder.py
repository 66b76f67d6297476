from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.reorder import diversified, relevance
from model.retrieval.metric import metric

POOL = st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**6)), min_size=1, max_size=40)


@given(POOL, st.lists(st.floats(-1, 1), min_size=2, max_size=5), st.data())
def test_popularity_never_rises_with_novelty(
    pool: list[tuple[float, int]], wishes: list[float], data: st.DataObject
) -> None:
    distances = np.array(sorted(distance for distance, _ in pool))
    counts = np.array([count for _, count in pool])
    k = data.draw(st.integers(1, len(pool)))
    means = []
    for novelty in sorted(wishes):
        best = np.argsort(-relevance(distances, counts, novelty), kind="stable")[:k]
        means.append(np.log1p(counts[best]).mean())
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(means))


@given(POOL)
def test_without_a_wish_the_order_is_that_of_the_distance(pool: list[tuple[float, int]]) -> None:
    distances = np.array(sorted(distance for distance, _ in pool))
    welcome = relevance(distances, np.array([count for _, count in pool]), 0.0)
    assert np.argsort(-welcome, kind="stable").tolist() == list(range(len(pool)))


def test_diversity_trades_relevance_for_distance() -> None:
    generator = np.random.default_rng(0)
    vectors, measure = generator.normal(0, 1, (60, 4)).astype(np.float32), metric("hyperbolic")
    welcome = -np.sort(generator.uniform(0, 1, 60))

    def nearest_pair(places: list[int]) -> float:
        chosen = vectors[places]
        rows = [np.delete(measure.distance(measure.keys(v, chosen, np.arange(10))), n) for n, v in enumerate(chosen)]
        return float(np.mean([row.min() for row in rows]))

    lists = [diversified(measure, vectors, welcome, 10, diversity).tolist() for diversity in (0.0, 0.5, 1.0)]
    assert lists[0] == list(range(10))
    assert all(places[0] == 0 and len(set(places)) == 10 for places in lists)
    apart = [nearest_pair(places) for places in lists]
    assert apart[0] < apart[1] < apart[2]
    welcomes = [welcome[places].mean() for places in lists]
    assert welcomes[0] > welcomes[1] > welcomes[2]


def test_a_pool_that_is_too_small_or_all_alike_is_taken_whole() -> None:
    measure, vectors = metric("hyperbolic"), np.ones((3, 4), np.float32)
    assert diversified(measure, vectors, np.zeros(3), 10, 0.7).tolist() == [0, 1, 2]
    assert diversified(measure, vectors[:0], np.zeros(0), 10, 0.7).tolist() == []
