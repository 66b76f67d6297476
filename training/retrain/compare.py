"""How well an older model foretells what is held out of newer data, in the newer data's terms.

The older model answers as it would serve: by its own vectors, index and number of steps, from the histories of today.
It does not know what came after it. An item that is new since is dropped from its histories and counts as missed where
it is held out; somebody whose history holds nothing it knows gets its list of popular items.

The comparison is fair if the older model has not learned from what is held out. Where the newest share of each history
is held out, it has not, but for what was taken up again or left a history meanwhile: of a history that grows, the share
begins ever later. Without an order what is held out is drawn anew, and the older model has learned from most of it.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.artifact import Artifact
from model.history import Histories
from model.vocabulary import Vocabulary
from training.bootstrap import Interval, paired_bootstrap
from training.evaluate import Ranker, RecommenderRanker, evaluate
from training.metrics import hits_of, ndcg, summary
from training.splits import Split

__all__ = ["ForeignRanker", "HeldOut", "holdout_metrics", "ndcg_difference"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

K = 20


class HeldOut(NamedTuple):
    """Of one model on a hold-out.

    Attributes:
        metrics: as of `training.metrics.summary`.
        ranked: the lists, (n, 20) int32 indices of the split's items; -1 where they run out, and of users without a
            truth.
    """

    metrics: dict[str, float]
    ranked: Int32


class ForeignRanker:
    """Ranks by an artifact whose vocabulary is not the data's.

    Args:
        artifact: the model; it answers with its own number of steps.
        items: the data's vocabulary, whose indices all arguments and results are in.
    """

    def __init__(self, artifact: Artifact, items: Vocabulary) -> None:
        own = artifact.catalogue.items
        self._recommender = artifact.recommender
        self._ranker = RecommenderRanker(artifact.recommender)
        self._to_own, self._from_own = _places(items, own), _places(own, items)
        self._gone = np.flatnonzero(self._from_own < 0).astype(np.int32)  # nobody can have held them out

    def rank(self, users: Int64, histories: Histories, masked: Histories, k: int) -> Int32:
        """See `training.evaluate.Ranker`."""
        known, excluded = self._known(histories), self._excluded(masked)
        ranked = np.full((len(histories), k), -1, np.int32)
        warm = np.flatnonzero(known.lengths)
        ranked[warm] = self._ranker.rank(users[warm], known.take(warm), excluded.take(warm), k)
        for cold in np.flatnonzero(known.lengths == 0).tolist():
            popular = self._recommender.most_popular(k, excluded[cold])
            ranked[cold, : len(popular)] = popular
        return np.where(ranked < 0, -1, self._from_own[ranked])

    def _known(self, histories: Histories) -> Histories:
        """In the model's indices, without what it does not know."""
        own = self._to_own[histories.items]
        return Histories(histories.indptr, own).select(own >= 0)

    def _excluded(self, masked: Histories) -> Histories:
        known = self._known(masked)
        if not len(self._gone):
            return known
        return known.append(Histories.of([self._gone] * len(masked)))


def holdout_metrics(ranker: Ranker, split: Split) -> HeldOut:
    """Rank what a split holds out for its report, from the histories of before."""
    ranked = evaluate(ranker, split.train, split.masked, split.test, k=K)
    return HeldOut(summary(ranked, split.test), ranked)


def ndcg_difference(ranked: Int32, other: Int32, truth: Histories, *, seed: int) -> Interval:
    """NDCG@20 of the first lists less that of the others, over the users that have a truth, with its interval."""
    counted = np.flatnonzero(truth.lengths)
    wanted = truth.take(counted)
    ours, theirs = (ndcg(hits_of(lists[counted], wanted), wanted.lengths, K) for lists in (ranked, other))
    return paired_bootstrap(ours, theirs, seed=seed)


def _places(vocabulary: Vocabulary, other: Vocabulary) -> Int32:
    """The index in the other of every id, -1 of those that it does not have: (n,) int32."""
    indices = {row: index for index, row in enumerate(other)}
    return np.array([indices.get(row, -1) for row in vocabulary], np.int32)
