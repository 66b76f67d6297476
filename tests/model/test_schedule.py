"""Times, the signal left at each, and how the network tells them apart."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import NoiseConfig
from model.schedule import sampling_times, signal_levels, time_embeddings


@given(st.integers(1, 300), st.floats(0.6, 0.999), st.floats(0.001, 0.4))
def test_signal_falls_from_one_to_the_last_level(timesteps: int, first: float, last: float) -> None:
    levels = signal_levels(NoiseConfig(timesteps=timesteps, alpha_bar_first=first, alpha_bar_last=last))
    assert levels.dtype == np.float64
    assert levels[0] == 1
    assert (np.diff(levels) < 0).all()
    assert levels[1] == pytest.approx(first)
    if timesteps > 1:
        assert levels[-1] == pytest.approx(last)


@given(st.integers(1, 200), st.data())
def test_sampling_times_fall_from_the_last_time(timesteps: int, data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, timesteps))
    times = sampling_times(timesteps, steps)
    assert len(times) == steps
    assert times[0] == timesteps
    assert times[-1] >= 1
    assert all(later > earlier for later, earlier in pairwise(times))


@pytest.mark.parametrize("steps", [0, -1, 51])
def test_more_steps_than_the_process_has_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=r"steps: got .*, expected 1 to 50"):
        sampling_times(50, steps)


@pytest.mark.parametrize("dim", [4, 7, 32])
def test_embeddings_tell_times_apart(dim: int) -> None:
    embeddings = time_embeddings(range(1, 51), 50, dim)
    assert embeddings.shape == (50, dim)
    assert np.abs(embeddings).max() <= 1
    apart = np.linalg.norm(embeddings[:, None] - embeddings, axis=-1) + np.eye(50)
    assert apart.min() > 1e-3
