import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.schedule import WARM_UP_EPOCHS, share_of_rate


@given(epochs=st.integers(1, 400), early=st.floats(0, 500), late=st.floats(0, 500))
def test_step_sizes_only_fall_once_they_are_up(epochs: int, early: float, late: float) -> None:
    early, late = sorted((max(early, WARM_UP_EPOCHS - 1), max(late, WARM_UP_EPOCHS - 1)))
    assert 0 < share_of_rate(late, epochs) <= share_of_rate(early, epochs) <= 1


def test_step_sizes_rise_at_first_and_end_near_zero() -> None:
    assert share_of_rate(0, 100) == 0.5
    assert share_of_rate(1, 100) == pytest.approx(1, abs=1e-3)
    assert share_of_rate(100, 100) == share_of_rate(1000, 100) < 0.05
