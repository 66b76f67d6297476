"""The graph of what follows what."""

import numpy as np
import torch

from model.history import Histories
from training.config import FollowersConfig
from training.followers import follower_vectors

Z = torch.eye(4)


def histories(*rows: list[int]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def test_by_hand() -> None:
    config = FollowersConfig(reach=2, half_life=1.0, popularity_power=0.5)
    found = follower_vectors(histories([0, 1, 2], [1, 3], [], [2]), Z, config)
    # item 0 is followed by 1 (which is had twice) and, two places on, by 2 (twice); 1 by 2 and by 3 (once)
    once, twice = 1.0, 2**-0.5
    expected = torch.zeros(4, 4)
    expected[0, 1], expected[0, 2] = twice, twice / 2
    expected[1, 2], expected[1, 3] = twice, once
    expected[:2] /= expected[:2].sum(1, keepdim=True)
    torch.testing.assert_close(found, expected)


def test_one_user_s_last_item_is_not_followed_by_the_next_user_s_first() -> None:
    found = follower_vectors(histories([0, 1], [2, 3]), Z, FollowersConfig(reach=10))
    torch.testing.assert_close(found, torch.stack((Z[1], torch.zeros(4), Z[3], torch.zeros(4))))


def test_what_is_popular_with_everyone_counts_less() -> None:
    rows = histories([0, 1], [0, 2], [3, 1], [3, 1], [3, 1])
    even, fair = (
        follower_vectors(rows, Z, FollowersConfig(reach=1, popularity_power=power))[0] for power in (0.0, 1.0)
    )
    torch.testing.assert_close(even, torch.tensor([0.0, 0.5, 0.5, 0.0]))
    torch.testing.assert_close(fair, torch.tensor([0.0, 0.2, 0.8, 0.0]))


def test_histories_shorter_than_the_reach_and_none_at_all() -> None:
    assert follower_vectors(histories([1]), Z, FollowersConfig()).abs().sum() == 0
    assert follower_vectors(histories([], []), Z, FollowersConfig()).shape == (4, 4)
