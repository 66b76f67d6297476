"""Data that is hardly data: it either trains and answers, or an error says what is wrong with it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.artifact import load_artifact
from model.errors import DataError
from model.history import Histories
from model.probe import run_probe
from model.store import ModelStore
from tests.conftest import QUICK
from training.config import load_config
from training.data.datasets import Order, make_dataset
from training.data.schema import TIMESTAMP
from training.trainer import Observer, TrainingRun

SHORT = [f"{stage}_fit.budget.{key}=2" for stage in ("encoder", "diffusion") for key in ("updates", "least_epochs")]
Row = tuple[str, str, str]


def cut(user: str, items: list[str]) -> list[Row]:
    """The last item is the test part, the one before it valid, the rest train."""
    parts = ["train"] * (len(items) - 2) + ["valid", "test"]
    return [(user, item, part) for item, part in zip(items, parts, strict=True)]


def names(*numbers: int) -> list[str]:
    return [f"i{n}" for n in numbers]


def train(rows: list[Row], models: Path, *, preset: str, ordered: bool) -> Path:
    interactions = pl.DataFrame(rows, ["user_id", "item_id", "part"], orient="row").with_columns(
        timestamp=pl.lit(None, TIMESTAMP)
    )
    items = pl.DataFrame({"item_id": sorted({row[1] for row in rows})}).with_columns(
        title=pl.lit(None, pl.String), year=pl.lit(None, pl.Int32), categories=pl.lit(None, pl.List(pl.String))
    )
    order: Order = "row" if ordered else "none"
    dataset = make_dataset(interactions, items, name="odd", source="tests", terms=None, order=order)
    silent = Observer(lambda _name, _epochs: None, lambda _epoch: None)
    config = load_config(preset, [*QUICK, *SHORT])
    return (
        TrainingRun(dataset, config, preset=preset, seed=0, store=ModelStore(models), observer=silent)
        .run(resume=False)
        .path
    )


USERS = [cut(f"u{u}", names(*range(u, u + 8))) for u in range(6)]
PLAIN = [row for rows in USERS for row in rows]
ODD = {
    "one user": cut("u", names(*range(10))),
    "two items": cut("a", names(0, 1, 0, 1)) + cut("b", names(1, 0, 1, 0)) + [("c", "i0", "train")],
    "users without a history": [*PLAIN, ("new", "i3", "test"), ("newer", "i4", "valid")],
    "users with one interaction": [*PLAIN, ("new", "i3", "train"), ("newer", "i99", "train")],
    "duplicate pairs": PLAIN * 3,
    "identical histories": [row for u in range(6) for row in cut(f"u{u}", names(*range(8)))],
    "ids with gaps": [(f"{u}000", str(int(i[1:]) * 10**9), part) for u, i, part in PLAIN],
    "everyone has everything": [
        row for u in range(5) for row in cut(f"u{u}", names(*np.random.default_rng(u).permutation(9).tolist()))
    ],
}


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("case", ODD)
def test_it_trains_and_answers_or_says_what_is_wrong(case: str, ordered: bool, preset: str, tmp_path: Path) -> None:
    if case == "two items":  # nobody has three of them
        with pytest.raises(DataError, match="the test part of odd is empty"):
            train(ODD[case], tmp_path, preset=preset, ordered=ordered)
        return
    path = train(ODD[case], tmp_path, preset=preset, ordered=ordered)
    artifact = load_artifact(path)
    run_probe(artifact.recommender, artifact.probe)
    histories = Histories.of([np.zeros(0, np.int32), *artifact.catalogue.histories.rows()])
    for hits in artifact.recommender.recommend(histories, 5, Histories.empty(len(histories))):
        assert len(hits.items) == min(5, len(artifact.catalogue.items))
        assert np.isfinite(hits.distances).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("u", "i", "train")], "the test part of odd is empty"),
        ([("u", f"i{n}", "test") for n in range(5)], "the train part of odd is empty"),
        ([("u", "i0", "train"), ("u", "i1", "train"), ("u", "i2", "test")], "the stop part of odd is empty"),
    ],
)
def test_an_empty_part_is_named(rows: list[Row], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        train(rows, tmp_path, preset="default", ordered=True)
