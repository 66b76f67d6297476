import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.geometry import distance
from model.retrieval import ExactIndex, required_overfetch, scan

Float32 = npt.NDArray[np.float32]
NOBODY = np.zeros(0, np.int32)


def cloud(seed: int, n: int, d: int, radii: tuple[float, float]) -> Float32:
    generator = np.random.default_rng(seed)
    directions = generator.standard_normal((n, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (directions * generator.uniform(*radii, (n, 1))).astype(np.float32)


@pytest.mark.parametrize("radii", [(0.1, 0.5), (1.0, 3.0), (1.0, 4.0), (3.9, 4.0)])
@pytest.mark.parametrize("first", [1, 20, 400])
def test_search_equals_the_float64_scan_whatever_is_fetched_first(radii: tuple[float, float], first: int) -> None:
    vectors, queries = cloud(0, 1500, 16, radii), cloud(1, 40, 16, radii)
    index = ExactIndex(vectors, overfetch={20: first})
    excluded = [np.random.default_rng(q).choice(1500, q * 10, replace=False).astype(np.int32) for q in range(40)]
    for query, gone, hits in zip(queries, excluded, index.search(queries, 20, excluded), strict=True):
        expected = scan(query, vectors, 20, gone)
        assert hits.items.tolist() == expected.items.tolist()
        np.testing.assert_allclose(hits.distances, expected.distances, rtol=1e-12)
        assert not set(hits.items.tolist()) & set(gone.tolist())


def test_scan_is_the_order_by_distance() -> None:
    vectors, query = cloud(2, 300, 8, (1.0, 4.0)), cloud(3, 1, 8, (1.0, 4.0))[0]
    u, v = torch.from_numpy(query).double(), torch.from_numpy(vectors).double()
    expected = torch.argsort(distance(u.expand_as(v), v))[:20]
    assert scan(query, vectors, 20, NOBODY).items.tolist() == expected.tolist()


def test_an_l2_prefilter_without_the_certificate_would_be_wrong() -> None:
    """The certificate earns its keep: with these radii the L2 top 20 is another list for most queries."""
    vectors, queries = cloud(0, 1500, 16, (1.0, 4.0)), cloud(1, 40, 16, (1.0, 4.0))
    index = ExactIndex(vectors, overfetch={20: 20})
    rounds = [hits.rounds for hits in index.search(queries, 20, [NOBODY] * 40)]
    assert max(rounds) > 1


def test_ties_go_to_the_lower_index() -> None:
    vectors = np.repeat(cloud(0, 10, 4, (1.0, 2.0)), 5, axis=0)
    index = ExactIndex(vectors, overfetch={3: 3})
    hits = index.search(vectors[7:8], 7, [NOBODY])[0]
    assert hits.items[:5].tolist() == [5, 6, 7, 8, 9]
    assert hits.items[5:].tolist() == sorted(hits.items[5:].tolist())


def test_the_answer_is_short_only_when_candidates_run_out() -> None:
    vectors = cloud(0, 12, 4, (1.0, 2.0))
    index = ExactIndex(vectors, overfetch={5: 5})
    everything, most = np.arange(12, dtype=np.int32), np.arange(10, dtype=np.int32)
    none, two, all_ = index.search(vectors[:3], 50, [everything, most, NOBODY])
    assert len(none.items) == 0
    assert set(two.items.tolist()) == {10, 11}
    assert sorted(all_.items.tolist()) == list(range(12))


def test_the_catalogue_may_be_a_single_item() -> None:
    index = ExactIndex(np.ones((1, 4), np.float32), overfetch={1: 1})
    assert index.search(np.zeros((1, 4), np.float32), 20, [NOBODY])[0].items.tolist() == [0]


@given(st.integers(0, 2**31), st.sampled_from([(0.5, 1.0), (1.0, 4.0)]))
def test_required_overfetch_certifies_at_once_and_less_does_not(seed: int, radii: tuple[float, float]) -> None:
    vectors, queries = cloud(seed, 200, 6, radii), cloud(seed + 1, 4, 6, radii)
    for query, m in zip(queries, required_overfetch(queries, vectors, 10), strict=True):
        # one more than required, so that rounding of the m-th place itself cannot matter
        enough = ExactIndex(vectors, overfetch={10: min(int(m) + 1, 200)})
        assert enough.search(query[None], 10, [NOBODY])[0].rounds == 1
        if m > 12:
            short = ExactIndex(vectors, overfetch={10: int(m) - 2})
            assert short.search(query[None], 10, [NOBODY])[0].rounds > 1


@pytest.mark.parametrize(("k", "expected"), [(5, 30), (10, 30), (11, 50), (20, 50), (40, 100)])
def test_first_fetch_takes_the_next_calibrated_length_and_scales_beyond(k: int, expected: int) -> None:
    index = ExactIndex(cloud(0, 500, 4, (1.0, 2.0)), overfetch={20: 50, 10: 30})
    assert index._first_fetch(k, 0) == expected
    assert index._first_fetch(k, 7) == expected + 7


def test_callers_mistakes_are_named() -> None:
    vectors = cloud(0, 10, 4, (1.0, 2.0))
    index = ExactIndex(vectors, overfetch={5: 5})
    with pytest.raises(ValueError, match="k: got 0"):
        index.search(vectors, 0, [NOBODY] * 10)
    with pytest.raises(ValueError, match="excluded: got 1 entries, expected 10"):
        index.search(vectors, 5, [NOBODY])
    with pytest.raises(ValueError, match="overfetch"):
        ExactIndex(vectors, overfetch={})
