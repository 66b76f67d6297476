import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.history import Histories
from training.baselines import LAMBDAS, LEAST_LAMBDA, Ease, Popularity, tuned_ease
from training.evaluate import ScoreRanker, evaluate, held_out_score, top_k
from training.metrics import hits_of, summary
from training.sampling import draw_cuts

NOBODY = Histories.of([np.zeros(0, np.int32)] * 3)


def histories(*rows: list[int]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def test_known_answers() -> None:
    """By hand: user 0 has hits at ranks 1 and 3 of two true items, user 1 none, user 2 has no truth."""
    ranked = np.array([[4, 9, 5], [1, 2, -1], [0, 1, 2]], np.int32)
    truth = histories([4, 5], [7], [])
    values = summary(ranked, truth, ks=(1, 3))
    ideal = 1 + 1 / math.log2(3)
    assert values["recall@1"] == pytest.approx(0.5 / 2)
    assert values["recall@3"] == pytest.approx(1.0 / 2)
    assert values["ndcg@1"] == pytest.approx(1.0 / 2)
    assert values["ndcg@3"] == pytest.approx((1 + 1 / math.log2(4)) / ideal / 2)


@given(st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9), min_size=1, max_size=4), st.integers(1, 12))
def test_top_k_is_a_stable_sort(scores: list[list[int]], k: int) -> None:
    masked = histories(*([row % 9] for row in range(len(scores))))
    ranked = top_k(np.array(scores, np.float32), masked, k)
    for row, values in enumerate(scores):
        order = [item for item in sorted(range(9), key=lambda item: -values[item]) if item != row % 9]
        assert [item for item in ranked[row] if item >= 0] == order[:k]


def test_a_perfect_list_scores_one_however_long_the_truth() -> None:
    truth = histories(list(range(30)), [3])
    ranked = np.array([range(20), [3, *range(4, 23)]], np.int32)
    values = summary(ranked, truth)
    assert values["ndcg@20"] == pytest.approx(1.0)
    assert values["recall@20"] == pytest.approx((20 / 30 + 1) / 2)


def test_padding_is_no_hit() -> None:
    assert not hits_of(np.full((2, 3), -1, np.int32), histories([0], [5])).any()


def test_no_truth_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="truth"):
        summary(np.zeros((3, 20), np.int32), NOBODY)


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_top_k_is_the_sorted_order_without_the_masked(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 4, (3, 9)).astype(np.float32)  # many ties
    rows = [generator.permutation(9)[: generator.integers(0, 10)].tolist() for _ in range(3)]
    masked = histories(*rows)
    expected = []
    for user in range(3):
        kept = [i for i in np.argsort(-scores[user], kind="stable").tolist() if i not in rows[user]][:k]
        expected.append(kept + [-1] * (k - len(kept)))
    ranked = top_k(scores.copy(), masked, k)
    # which of several tied items makes the last place is not defined, their scores are
    for user in range(3):
        assert [scores[user, i] if i >= 0 else -1 for i in ranked[user]] == [
            scores[user, i] if i >= 0 else -1 for i in expected[user]
        ]
        assert not set(ranked[user].tolist()) & set(rows[user])


def test_popularity_gives_everyone_the_same_list_less_what_is_masked() -> None:
    train = histories([0, 1, 2], [0, 1], [0])
    ranked = evaluate(ScoreRanker(Popularity(train, 3)), NOBODY, histories([0], [], []), histories([1], [1], []), k=2)
    assert ranked.tolist() == [[1, 2], [0, 1], [-1, -1]]


def test_ease_is_the_solution_of_its_problem() -> None:
    """Its weights minimise |X - XB|^2 + lambda |B|^2 with a zero diagonal: no feasible step lowers the loss."""
    generator = np.random.default_rng(0)
    train = histories(*[generator.permutation(6)[:3].tolist() for _ in range(40)])
    ease = Ease.fit(train, 6, regularisation=2.0)
    x = np.zeros((40, 6))
    x[train.owners(), train.items] = 1

    def loss(weights: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        return float(((x - x @ weights) ** 2).sum() + 2.0 * (weights**2).sum())

    assert (np.diag(ease.weights) == 0).all()
    best = loss(ease.weights.astype(np.float64))
    for _ in range(20):
        step = generator.standard_normal((6, 6)) * 1e-2
        np.fill_diagonal(step, 0)
        assert loss(ease.weights + step) > best
    assert ease.score(train.take(np.arange(2))).shape == (2, 6)


def test_tuned_ease_is_the_best_on_what_is_held_out_and_learns_from_it_then() -> None:
    generator = np.random.default_rng(1)
    train = histories(*[generator.permutation(12)[:5].tolist() for _ in range(30)])
    valid = histories(*[[int(generator.integers(12))] for _ in range(30)])
    chosen = tuned_ease(train, valid, 12, half_lives=(None, 1.0))
    everything = train.append(valid)
    assert np.array_equal(chosen.weights, Ease.fit(everything, 12, regularisation=chosen.regularisation).weights)

    def score(regularisation: float, half_life: float | None) -> float:
        fitted = replace(Ease.fit(train, 12, regularisation=regularisation), half_life=half_life)
        return held_out_score(ScoreRanker(fitted), train, valid)

    middle = 1.0
    assert score(chosen.regularisation, middle) == max(score(value, middle) for value in LAMBDAS)
    assert score(chosen.regularisation, chosen.half_life) == max(
        score(chosen.regularisation, half_life) for half_life in (None, middle)
    )


def test_tuned_ease_looks_for_a_regularisation_below_its_grid_where_that_is_better() -> None:
    # a few items of a small circle and a few that all take: strong regularisation sees the latter alone
    generator = np.random.default_rng(0)
    circles = [5 * (n % 8) + generator.permutation(5)[:4] for n in range(40)]
    train = histories(*[[*circle[:3].tolist(), *(40 + generator.permutation(8)[:4]).tolist()] for circle in circles])
    valid = histories(*[circle[3:].tolist() for circle in circles])
    assert LEAST_LAMBDA < tuned_ease(train, valid, 48, half_lives=(None,)).regularisation < LAMBDAS[0]


def test_recency_moves_ease_towards_the_newest_item() -> None:
    train = histories(*[[2 * n % 8, 2 * n % 8 + 1] for n in range(40)])  # 0 with 1, 2 with 3, ...
    ease = Ease.fit(train, 8, regularisation=1.0)
    query = histories([0, 2])
    plain, recent = ease.score(query)[0], replace(ease, half_life=1.0).score(query)[0]
    assert plain[1] == pytest.approx(plain[3])
    assert recent[1] == pytest.approx(plain[1] / 2)
    assert recent[3] == pytest.approx(plain[3])
    assert "recency" in replace(ease, half_life=1.0).describe()


@given(st.integers(0, 2**31), st.booleans(), st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([4, "rest"]))
def test_cuts_divide_each_history_into_past_and_future(
    seed: int, ordered: bool, least: float, horizon: int | Literal["rest"]
) -> None:
    rows: list[list[int]] = [list(range(user, user + n)) for user, n in enumerate((0, 1, 2, 5, 30))]
    cuts = draw_cuts(
        histories(*rows), np.random.default_rng(seed), ordered=ordered, horizon=horizon, least_past=least, dropout=0.5
    )
    for user, row in enumerate(rows):
        past, kept, future = (part[user].tolist() for part in (cuts.past, cuts.kept, cuts.future))
        if len(row) < 2:
            assert past == kept == future == []
            continue
        assert len(past) >= min(max(1, int(least * len(row))), len(row) - 1)
        assert future
        assert set(kept) <= set(past)
        assert kept[-1] == past[-1]
        rest = len(row) - len(past)
        assert len(future) == (rest if horizon == "rest" else min(horizon, rest))
        if ordered:
            assert row[: len(past) + len(future)] == past + future
        else:
            assert len({*past, *future}) == len(past) + len(future)
            assert {*past, *future} <= set(row)
        assert sorted(cuts.others[user]) == sorted(past if ordered else set(row) - set(future))
