"""Similarities by hand."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.item_knn import BLOCK, ItemKnn
from tests.benchmarks.baselines.planted import communities, histories, nothing

TRAIN = histories([0, 1], [0, 1, 2], [0, 3], [2])


def test_similarities_by_hand() -> None:
    """Items 0, 1, 2, 3 have 3, 2, 2, 1 users."""
    cosine = ItemKnn.fit(TRAIN, 5, neighbours=4, shrinkage=0.0).weights.toarray()
    assert cosine[0, 1] == pytest.approx(2 / np.sqrt(6))
    assert cosine[1, 2] == pytest.approx(1 / 2)
    assert cosine[0, 3] == pytest.approx(1 / np.sqrt(3))
    assert cosine[1, 3] == 0
    assert np.allclose(cosine, cosine.T)
    assert (np.diag(cosine) == 0).all()
    assert (cosine[4] == 0).all()
    shrunk = ItemKnn.fit(TRAIN, 5, neighbours=4, shrinkage=2.0).weights.toarray()
    assert shrunk[0, 1] == pytest.approx(2 / (np.sqrt(6) + 2))


def test_only_the_nearest_neighbours_of_an_item_vote_for_it() -> None:
    knn = ItemKnn.fit(TRAIN, 5, neighbours=1, shrinkage=0.0)
    assert (np.count_nonzero(knn.weights.toarray(), axis=0) <= 1).all()
    scores = knn.score(histories([0], [2]))
    assert scores[0, 1] == pytest.approx(2 / np.sqrt(6))  # the nearest of 1 is 0
    assert scores[1, 1] == 0


def test_recency_prefers_the_neighbours_of_the_newer_item() -> None:
    knn = ItemKnn.fit(histories(*[[0, 1], [2, 3]] * 5), 4, neighbours=3, shrinkage=1.0)
    query = histories([0, 2], [2, 0])
    plain, recent = knn.score(query), replace(knn, half_life=1.0).score(query)
    assert plain[0, 1] == plain[0, 3]
    assert recent[0, 1] == pytest.approx(plain[0, 1] / 2)
    assert recent[0, 3] == pytest.approx(plain[0, 3])
    assert recent[1].argmax() == 1


def test_a_history_never_seen_is_served_and_an_empty_one_scores_nothing() -> None:
    knn = ItemKnn.fit(communities()[0], 20, neighbours=5, shrinkage=1.0)
    scores = knn.score(histories([13], []))
    assert scores[0, 10:].sum() > 0
    assert (scores[0, :10] == 0).all()
    assert (scores[1] == 0).all()


def test_the_blocks_of_the_computation_leave_no_trace() -> None:
    """More items than a block has: every item goes with the one after it."""
    n = 2 * BLOCK + 2
    train = histories(*([item, item + 1] for item in range(0, n, 2)))
    knn = ItemKnn.fit(train, n, neighbours=2, shrinkage=0.0)
    query = np.arange(0, n, 2)
    assert (knn.score(histories(*([item] for item in query.tolist()))).argmax(1) == query + 1).all()


def test_nobody_has_anything() -> None:
    assert (ItemKnn.fit(nothing(2), 3, neighbours=2, shrinkage=0.0).score(nothing(2)) == 0).all()
