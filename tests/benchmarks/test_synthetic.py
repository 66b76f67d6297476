"""Synthetic data: the laws it promises, nothing twice, the same every time, and something to be learned from it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.synthetic import items_for, synthesise, users_for
from training.baselines import Ease, Popularity
from training.corpus import Corpus, hold_out
from training.evaluate import Scorer, ScoreRanker, measure

N = 300_000  # more than one chunk


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return synthesise(N, seed=0)


def test_sizes_are_exactly_those_promised(corpus: Corpus) -> None:
    assert len(corpus.histories.items) == N
    assert len(corpus) == users_for(N) == 6_000
    assert corpus.n_items == items_for(N) == 1_933
    assert corpus.ordered
    assert corpus.histories.items.dtype == np.int32


@pytest.mark.parametrize(("n", "users", "items"), [(10**5, 2_000, 1_000), (10**7, 200_000, 15_849)])
def test_sizes_follow_the_documented_laws(n: int, users: int, items: int) -> None:
    assert (users_for(n), items_for(n)) == (users, items)


def test_no_pair_is_there_twice_and_every_item_is_in_the_catalogue(corpus: Corpus) -> None:
    histories = corpus.histories
    keys = histories.owners() * corpus.n_items + histories.items
    assert len(np.unique(keys)) == N
    assert 0 <= histories.items.min() <= histories.items.max() < corpus.n_items


def test_activity_is_a_power_law_between_its_bounds(corpus: Corpus) -> None:
    lengths = corpus.histories.lengths
    assert lengths.min() >= 3  # something can be held out of every history
    assert lengths.max() <= corpus.n_items / 2 + 1
    assert lengths.max() > 10 * np.median(lengths)
    # maximum likelihood of the density's exponent above a bound, which the cut makes a little larger
    tail = lengths[lengths >= 30]
    assert 1 + len(tail) / np.log(tail / 29.5).sum() == pytest.approx(2.5, abs=0.25)


def test_popularity_is_a_power_law_below_its_head(corpus: Corpus) -> None:
    counts = np.sort(np.bincount(corpus.histories.items, minlength=corpus.n_items))[::-1]
    assert counts[0] < 0.3 * len(corpus)
    ranks = np.arange(1, len(counts) + 1)
    tail = slice(len(counts) // 5, None)
    slope, _ = np.polyfit(np.log(ranks[tail]), np.log(counts[tail]), 1)
    assert slope == pytest.approx(-1.0, abs=0.2)


def test_users_are_in_no_order_of_activity(corpus: Corpus) -> None:
    assert abs(np.corrcoef(np.arange(len(corpus)), corpus.histories.lengths)[0, 1]) < 0.05


def test_a_seed_gives_the_same_data_always_and_another_seed_other_data(corpus: Corpus) -> None:
    again, other = synthesise(N, seed=0), synthesise(N, seed=1)
    assert np.array_equal(again.histories.items, corpus.histories.items)
    assert np.array_equal(again.histories.indptr, corpus.histories.indptr)
    assert not np.array_equal(other.histories.items, corpus.histories.items)


@pytest.mark.parametrize("n", [10_000, 12_345])
def test_the_smallest_sizes_work(n: int) -> None:
    corpus = synthesise(n, seed=3)
    assert len(corpus.histories.items) == n
    assert all(len(set(row.tolist())) == len(row) for row in corpus.histories.rows())


def test_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="got 9999, expected at least 10000"):
        synthesise(9_999, seed=0)


def test_communities_and_their_order_can_be_learned() -> None:
    corpus = synthesise(50_000, seed=0)
    search, stop = hold_out(corpus.histories, 0.1, ordered=True, seed=0)
    ease = Ease.fit(search, corpus.n_items, regularisation=100.0)

    def score(scorer: Scorer) -> float:
        return measure(ScoreRanker(scorer), search, search, stop)["ndcg@20"]

    assert score(ease) > 1.3 * score(Popularity(search, corpus.n_items))
    assert score(replace(ease, half_life=20.0)) > 1.02 * score(ease)
