import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import UNIFORM, HistoryConfig
from model.history import Histories
from model.means import history_vectors, recency_weights, weighted_means

ragged = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=8)


def histories(rows: list[list[int]]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def lists(made: Histories) -> list[list[int]]:
    return [row.tolist() for row in made.rows()]


@given(ragged)
def test_padded_rows_are_followed_by_zeros(rows: list[list[int]]) -> None:
    padded = histories(rows).padded()
    longest = max(1, *map(len, rows))
    assert padded.tolist() == [row + [0] * (longest - len(row)) for row in rows]


@given(ragged, st.data())
def test_rows_survive_every_rearrangement(rows: list[list[int]], data: st.DataObject) -> None:
    made = histories(rows)
    assert lists(made) == rows
    order = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    assert lists(made.take(np.array(order, np.int64))) == [rows[i] for i in order]
    n = data.draw(st.integers(1, 7))
    assert lists(made.last(n)) == [row[-n:] for row in rows]
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(made.items), max_size=len(made.items))), bool)
    expected, place = [], 0
    for row in rows:
        expected.append([item for item, kept in zip(row, keep[place : place + len(row)], strict=True) if kept])
        place += len(row)
    assert lists(made.select(keep)) == expected
    assert lists(made.append(made)) == [row + row for row in rows]
    assert made.owners().tolist() == [u for u, row in enumerate(rows) for _ in row]
    assert made.positions().tolist() == [p for row in rows for p in range(len(row))]
    assert made.ages().tolist() == [len(row) - 1 - p for row in rows for p in range(len(row))]


def test_pairs_keep_their_order_within_a_user() -> None:
    made = Histories.from_pairs(np.array([1, 0, 1, 1]), np.array([5, 4, 3, 9], np.int32), 3)
    assert lists(made) == [[4], [5, 3, 9], []]


def test_recency_weights_halve_and_sum_to_one() -> None:
    made = histories([[1, 2, 3], [4]])
    weights = recency_weights(made, (1.0, UNIFORM))
    torch.testing.assert_close(weights[0], torch.tensor([1 / 7, 2 / 7, 4 / 7, 1.0]))
    torch.testing.assert_close(weights[1], torch.tensor([1 / 3, 1 / 3, 1 / 3, 1.0]))


def test_without_an_order_every_item_weighs_the_same() -> None:
    weights = recency_weights(histories([[1, 2, 3, 4]]), (UNIFORM, UNIFORM))
    torch.testing.assert_close(weights, torch.full((2, 4), 0.25))


@given(ragged)
def test_weighted_means_are_the_sums_they_say(rows: list[list[int]]) -> None:
    made = histories(rows)
    vectors = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    weights = recency_weights(made, (2.0, 7.0))
    means = weighted_means(made, vectors, weights)
    assert means.shape == (len(rows), 2, 4)
    for user, row in enumerate(rows):
        for h, half_life in enumerate((2.0, 7.0)):
            w = torch.tensor([2 ** (-(len(row) - 1 - p) / half_life) for p in range(len(row))])
            expected = (w[:, None] * vectors[row]).sum(0) / w.sum() if row else torch.zeros(4)
            torch.testing.assert_close(means[user, h], expected, rtol=1e-4, atol=1e-5)


def test_only_the_newest_items_count() -> None:
    config = HistoryConfig(half_lives=(1e9,), max_length=2)
    condition = history_vectors(histories([[0, 1, 2, 3]]), torch.eye(4), config)
    torch.testing.assert_close(condition[0], torch.tensor([[0.0, 0.0, 0.5, 0.5]]))


def test_there_is_a_mean_for_every_half_life() -> None:
    config = HistoryConfig(half_lives=(1e-3, "uniform"))
    condition = history_vectors(histories([[0, 2], []]), torch.eye(4), config)
    torch.testing.assert_close(condition[0], torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.5, 0.0, 0.5, 0.0]]))
    assert (condition[1] == 0).all()


def test_pieces_are_cut_from_the_newest_end() -> None:
    rows = histories([[0, 1, 2, 3, 4], [], [5, 6], [7]])
    pieces, newest = rows.pieces(2)
    assert [row.tolist() for row in pieces.rows()] == [[0], [1, 2], [3, 4], [], [5, 6], [7]]
    assert newest.tolist() == [2, 3, 4, 5]
    whole, same = rows.pieces(9)
    assert [row.tolist() for row in whole.rows()] == [row.tolist() for row in rows.rows()]
    assert same.tolist() == [0, 1, 2, 3]


def test_offsets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="indptr"):
        Histories(np.array([0, 3]), np.array([1], np.int32))
    with pytest.raises(ValueError, match="rows: got 1, expected 2"):
        histories([[1], [2]]).append(histories([[1]]))
    with pytest.raises(IndexError, match="row 2 of 1"):
        histories([[1]])[2]
