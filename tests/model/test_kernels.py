import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import kernels
from model.aligned import aligned, empty_aligned
from model.history import Histories
from model.kernels import exponential
from model.retrieval import LorentzScan


def test_the_exponential_is_that_of_float64_to_the_last_digits() -> None:
    x = np.concatenate((np.linspace(-87, 88, 200_001), np.linspace(-1e-3, 1e-3, 2001), [0.0])).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    found = np.array([exponential(value) for value in x], np.float64)
    assert np.abs(found / exact - 1).max() < 2.0**-23
    assert exponential(np.float32(0)) == 1


def test_the_exponential_is_finite_and_positive_whatever_it_is_asked() -> None:
    for value in (-np.inf, -1e30, -88, 89, 1e30, np.inf):
        found = exponential(np.float32(value))
        assert np.isfinite(found)
        assert found > 0
    assert exponential(np.float32(-np.inf)) < 1e-37
    assert exponential(np.float32(np.inf)) > 1e38


@given(st.lists(st.floats(-1e3, 1e3, width=32) | st.just(-np.inf), min_size=1, max_size=80), st.integers(1, 90))
def test_at_least_so_many_values_exceed_what_is_exceeded(values: list[float], m: int) -> None:
    given = np.array(values, np.float32)
    found = kernels.exceeded(given, m)
    assert found == -np.inf or (given > found).sum() >= m


def test_what_is_exceeded_is_near_the_value_that_is_sought() -> None:
    values = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    for m in (1, 20, 36, 400, 510):
        assert m <= (values > kernels.exceeded(values, m)).sum() <= m + 3
    assert kernels.exceeded(values, 512) == -np.inf  # nothing that is known is less than all of them


@pytest.mark.parametrize("curved", [True, False])
def test_keys_are_the_same_to_the_last_bit_in_every_kernel(curved: bool) -> None:
    """Sums may be regrouped, by as many as the processor adds at a time, but everywhere alike."""
    numbers = np.random.default_rng(0)
    for d in (1, 2, 3, 7, 8, 9, 15, 16, 31, 33, 63, 64, 65, 127, 130, 192):
        vectors = numbers.standard_normal((40, d)).astype(np.float32)
        query, order = vectors[3] * np.float32(0.7), np.arange(40)
        expected, reranked, items = np.empty(40), np.empty((1, 40)), order[None].copy()
        kernels.keys(expected, query, vectors, order, curved)
        kernels.rerank(reranked, items, query[None], vectors, curved)
        assert reranked[0].tolist() == expected[items[0]].tolist()
        if not curved:  # the root is exact
            [hits] = LorentzScan(vectors, geometry="euclidean").search(query[None], [40], Histories.empty(1))
            assert hits.distances.tolist() == np.sqrt(expected[hits.items]).tolist()


def test_aligned_arrays_begin_where_a_line_of_the_cache_does() -> None:
    for shape in ((1,), (3, 5), (2, 7, 3), (16, 64)):
        values = np.random.default_rng(0).standard_normal(shape)
        made = aligned(values)
        assert made.ctypes.data % kernels.CACHE_LINE == empty_aligned(shape).ctypes.data % kernels.CACHE_LINE == 0
        assert made.flags.c_contiguous
        assert made.tolist() == values.astype(np.float32).tolist()
