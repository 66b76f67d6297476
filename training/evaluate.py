"""Measure anything that ranks: one protocol for the model and for its baselines."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model.history import Histories
from model.recommender import Recommender
from training.metrics import summary

__all__ = ["Ranker", "RecommenderRanker", "ScoreRanker", "Scorer", "evaluate", "held_out_score", "measure", "top_k"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

BATCH = 1024


class Ranker(Protocol):
    """Whatever answers a batch of users with ranked lists."""

    def rank(self, users: Int64, histories: Histories, masked: Histories, k: int) -> Int32:
        """The k best items of each row without its masked ones: (b, k) int32, -1 where candidates run out.

        `users` (b,) are the rows' indices in the training data, for what has learned a vector of every user;
        what is a function of the history ignores them.
        """
        ...


class Scorer(Protocol):
    """Whatever scores all items for a batch of histories."""

    def score(self, histories: Histories) -> Float32:
        """(b, m) float32, higher is better."""
        ...


class ScoreRanker:
    """Ranks by a scorer's dense scores."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def rank(self, users: Int64, histories: Histories, masked: Histories, k: int) -> Int32:
        return top_k(self.scorer.score(histories), masked, k)


class RecommenderRanker:
    """Ranks with the very function that serves: what is measured is what users get."""

    def __init__(self, recommender: Recommender, *, steps: int | None = None) -> None:
        self.recommender = recommender
        self.steps = steps

    def rank(self, users: Int64, histories: Histories, masked: Histories, k: int) -> Int32:
        ranked = np.full((len(histories), k), -1, np.int32)
        hits = self.recommender.recommend(histories, k, masked, steps=self.steps)
        for row, found in enumerate(hits):
            ranked[row, : len(found.items)] = found.items
        return ranked


def evaluate(ranker: Ranker, query: Histories, masked: Histories, truth: Histories, *, k: int = 20) -> Int32:
    """Ranked lists of all users that have a truth, the others' rows -1: (n, k) int32; see `metrics.summary`."""
    ranked = np.full((len(truth), k), -1, np.int32)
    for users in _batches(np.flatnonzero(truth.lengths)):
        ranked[users] = ranker.rank(users, query.take(users), masked.take(users), k)
    return ranked


def measure(ranker: Ranker, query: Histories, masked: Histories, truth: Histories) -> dict[str, float]:
    """recall and NDCG at 10 and 20."""
    return summary(evaluate(ranker, query, masked, truth), truth)


def held_out_score(ranker: Ranker, history: Histories, truth: Histories) -> float:
    """What epochs and settings are chosen by: the mean of recall@20 and NDCG@20; the history is masked.

    Both are reported, and near the best epoch each alone goes up and down by more than it rises.
    """
    values = measure(ranker, history, history, truth)
    return (values["recall@20"] + values["ndcg@20"]) / 2


def top_k(scores: Float32, masked: Histories, k: int) -> Int32:
    """The k best of (b, m) scores without the masked items, ties by index: (b, k) int32, -1 beyond the candidates.

    `scores` is overwritten at the masked places.
    """
    scores[masked.owners(), masked.items] = -np.inf
    k_here = min(k, scores.shape[1])
    kth = -np.partition(-scores, k_here - 1, axis=1)[:, k_here - 1 : k_here]
    # all above the k-th best score, and of those equal to it the first ones by index
    above, level = scores > kth, scores == kth
    chosen = above | (level & (np.cumsum(level, axis=1) <= k_here - above.sum(1, keepdims=True)))
    best = np.nonzero(chosen)[1].reshape(len(scores), k_here)
    kept = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-kept, axis=1, kind="stable")
    ranked = np.full((len(scores), k), -1, np.int32)
    ranked[:, :k_here] = np.where(
        np.isneginf(np.take_along_axis(kept, order, axis=1)), -1, np.take_along_axis(best, order, axis=1)
    )
    return ranked


def _batches(users: Int64) -> Iterator[Int64]:
    for start in range(0, len(users), BATCH):
        yield users[start : start + BATCH]
