import numpy as np

from model.kernels import exponential


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
