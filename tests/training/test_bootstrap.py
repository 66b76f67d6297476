import numpy as np
import pytest

from training.bootstrap import paired_bootstrap


def test_the_interval_holds_the_difference_and_narrows_with_users() -> None:
    generator = np.random.default_rng(0)
    base = generator.random(2000)
    better = base + generator.normal(0.1, 0.5, 2000)
    interval = paired_bootstrap(better, base, seed=1)
    assert interval.difference == pytest.approx(float((better - base).mean()))
    assert interval.low < interval.difference < interval.high
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.5 / 2000**0.5, rel=0.1)
    assert interval.excludes_zero
    assert not paired_bootstrap(base, base[generator.permutation(2000)], seed=1).excludes_zero
    with pytest.raises(ValueError, match="the same users"):
        paired_bootstrap(base, base[:5], seed=1)
