from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from model.artifact import Artifact
from model.history import Histories
from training.config import SplitConfig
from training.data.catalogue import complete_items
from training.data.datasets import Dataset, make_dataset
from training.data.schema import TIMESTAMP
from training.evaluate import RecommenderRanker, evaluate
from training.retrain.compare import ForeignRanker, holdout_metrics, ndcg_difference
from training.splits import Split, make_split


def split_of(interactions: pl.DataFrame) -> Split:
    items = complete_items(None, interactions)
    data = make_dataset(interactions, items, name="new", source="tests", terms=None, order="timestamp")
    return make_split(data, SplitConfig(), seed=0)


def with_others(dataset: Dataset) -> Split:
    """With users and items whose ids stand between those of before, so that no index is what it was."""
    others = pl.DataFrame(
        [(f"u{n}x", f"i{(n + i) % 60}x", 100 * n + i) for n in range(40) for i in range(15)],
        ["user_id", "item_id", "timestamp"],
        orient="row",
    ).with_columns(pl.col("timestamp").cast(TIMESTAMP))
    return split_of(pl.concat([dataset.interactions, others]))


def named(split: Split, ranked: np.ndarray[tuple[int, int], np.dtype[np.int32]]) -> dict[str, list[str | None]]:
    return {
        user: [None if item < 0 else split.items.id(item) for item in row]
        for user, row in zip(split.users.ids(), ranked.tolist(), strict=True)
    }


def test_of_the_same_data_it_tells_what_the_model_itself_does(artifact: Artifact, dataset: Dataset) -> None:
    split = make_split(dataset, SplitConfig(), seed=0)
    own = holdout_metrics(RecommenderRanker(artifact.recommender), split)
    foreign = holdout_metrics(ForeignRanker(artifact, split.items), split)
    np.testing.assert_array_equal(foreign.ranked, own.ranked)
    assert foreign.metrics == own.metrics == artifact.manifest.metrics[-1].values
    alike = ndcg_difference(own.ranked, foreign.ranked, split.test, seed=0)
    assert alike == (0, 0, 0)


def test_other_indices_change_no_list(artifact: Artifact, dataset: Dataset) -> None:
    old, new = make_split(dataset, SplitConfig(), seed=0), with_others(dataset)
    own = holdout_metrics(RecommenderRanker(artifact.recommender), old)
    foreign = holdout_metrics(ForeignRanker(artifact, new.items), new)
    lists, others = named(old, own.ranked), named(new, foreign.ranked)
    assert new.items.ids() != old.items.ids()
    assert {user: others[user] for user in lists} == lists
    assert foreign.metrics["ndcg@20"] < own.metrics["ndcg@20"]  # what is new it misses


def test_who_has_no_known_history_gets_what_is_popular(artifact: Artifact, dataset: Dataset) -> None:
    new = with_others(dataset)
    strangers = np.array([new.users.index(f"u{n}x") for n in range(3)])
    histories = new.train.take(strangers)
    masked = Histories.of([np.array([new.items.index("i7")], np.int32)] * 3)
    ranked = ForeignRanker(artifact, new.items).rank(strangers, histories, masked, 10)
    catalogue = artifact.catalogue
    popular = [catalogue.items.id(i) for i in np.argsort(-catalogue.counts, kind="stable").tolist()]
    expected = [item for item in popular if item != "i7"][:10]
    assert [[new.items.id(item) for item in row] for row in ranked.tolist()] == [expected] * 3


def test_what_is_masked_or_gone_is_never_in_a_list(artifact: Artifact, dataset: Dataset) -> None:
    gone = [f"i{n}" for n in range(0, 60, 4)]
    new = split_of(dataset.interactions.filter(~pl.col("item_id").is_in(gone)))
    assert len(new.items) == 45
    ranker = ForeignRanker(artifact, new.items)
    ranked = evaluate(ranker, new.train, new.masked, new.test, k=45)
    for user in np.flatnonzero(new.test.lengths).tolist():
        row, masked = ranked[user], new.masked[user]
        shown = row[row >= 0]
        assert set(shown.tolist()) == set(range(45)) - set(masked.tolist())  # all the others, each once
        assert (row[len(shown) :] == -1).all()
        assert len(set(shown.tolist())) == len(shown)


def test_it_answers_with_its_own_steps(artifact: Artifact, dataset: Dataset) -> None:
    split = make_split(dataset, SplitConfig(), seed=0)
    model = replace(artifact.model, config=artifact.model.config.model_copy(update={"steps": 0}))
    still = replace(artifact, model=model, recommender=model.recommender(artifact.catalogue.counts))
    plain = holdout_metrics(RecommenderRanker(artifact.recommender, steps=0), split)
    np.testing.assert_array_equal(holdout_metrics(ForeignRanker(still, split.items), split).ranked, plain.ranked)
    assert not np.array_equal(holdout_metrics(ForeignRanker(artifact, split.items), split).ranked, plain.ranked)


def test_the_difference_is_over_the_users_that_have_a_truth() -> None:
    truth = Histories.of([np.array([1], np.int32), np.array([], np.int32), np.array([2], np.int32)])
    right, wrong = np.full((3, 20), -1, np.int32), np.full((3, 20), -1, np.int32)
    right[:, 0], wrong[:, 0] = [1, 0, 2], 9
    assert ndcg_difference(right, wrong, truth, seed=0) == pytest.approx((1, 1, 1))
