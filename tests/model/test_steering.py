"""Groups and dislikes, held against the closed forms in torch's float64 and against their definitions."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model import geometry
from model.steering import centroid, turned

Float32 = npt.NDArray[np.float32]

COORDINATES = st.floats(-2, 2, width=32)


def vectors(least: int, most: int) -> st.SearchStrategy[Float32]:
    return st.integers(least, most).flatmap(lambda n: arrays(np.float32, (n, 4), elements=COORDINATES))


def apart(u: Float32, v: Float32) -> float:
    one, other = (torch.from_numpy(x.astype(np.float64)) for x in (u, v))
    return float(geometry.distance(one, other))


@given(vectors(1, 6))
def test_the_centroid_is_that_of_the_closed_form(members: Float32) -> None:
    expected = geometry.centroid(torch.from_numpy(members.astype(np.float64))).numpy()
    np.testing.assert_allclose(centroid(members, curved=True), expected, atol=1e-5)


@given(vectors(2, 6), st.integers(0, 2**32 - 1))
def test_the_centroid_is_nearest_to_all(members: Float32, seed: int) -> None:
    def total(x: Float32) -> float:
        return sum(float(np.cosh(apart(x, member))) for member in members)

    middle = centroid(members, curved=True)
    beside = middle + np.random.default_rng(seed).normal(0, 0.1, 4).astype(np.float32)
    assert total(middle) <= total(beside) + 1e-4


def test_the_centroid_of_one_is_itself_and_of_many_the_same_in_any_order() -> None:
    members = np.random.default_rng(0).normal(0, 1, (5, 4)).astype(np.float32)
    np.testing.assert_array_equal(centroid(members[:1], curved=True), members[0])
    np.testing.assert_allclose(centroid(members, curved=True), centroid(members[::-1], curved=True), atol=1e-6)
    np.testing.assert_allclose(centroid(members, curved=False), members.mean(0), atol=1e-6)


@given(vectors(1, 1), vectors(1, 1), st.floats(0.01, 1))
def test_a_turn_keeps_the_radius_and_leads_away(start: Float32, away: Float32, by: float) -> None:
    turned_ = turned(start[0], away, by=by)
    radius = float(np.linalg.norm(start[0].astype(np.float64)))
    assert np.linalg.norm(turned_.astype(np.float64)) == pytest.approx(radius, abs=1e-5)
    if float(np.linalg.norm(start[0] - by * away[0])) > 1e-3:  # otherwise there is no direction left to turn to
        assert apart(turned_, away[0]) >= apart(start[0], away[0]) - 1e-4


def test_a_turn_is_from_the_mean_of_many_and_from_nothing_where_nothing_is_left() -> None:
    start = np.array([0.5, 0.5, 0, 0], np.float32)
    away = np.array([[2, 0, 0, 0], [0, 0, 2, 0]], np.float32)
    rest = np.array([0.5 - 0.3, 0.5, -0.3, 0])
    expected = rest * np.linalg.norm(start) / np.linalg.norm(rest)
    np.testing.assert_allclose(turned(start, away, by=0.3), expected, atol=1e-6)
    np.testing.assert_array_equal(turned(start, start[None], by=1.0), start)
