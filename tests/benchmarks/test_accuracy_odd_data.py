"""The accuracy benchmark on data that is hardly data: it is measured in both modes, or an error says what is wrong."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from benchmarks.accuracy.benchmark import Observer, measure_all
from benchmarks.accuracy.document import Document
from benchmarks.accuracy.finished import Finished
from benchmarks.accuracy.markdown import render
from benchmarks.accuracy.problem import read_problem
from benchmarks.accuracy.runs import Run, here
from model.errors import DataError
from tests.conftest import QUICK

SILENT = Observer(lambda _number, _total, _run: None, lambda _phase, _done, _total: None)
SHORT = [
    f"{stage}_fit.budget.{key}=2"
    for stage in ("encoder", "attention", "diffusion")
    for key in ("updates", "least_epochs")
]
Pairs = list[tuple[int, int]]
Order = Literal["none", "chronological"]


def histories(users: int, *, step: int = 1, stride: int = 1, gap: int = 1) -> dict[str, Pairs]:
    """Ten items a user, the next one's `step` further on: eight for training, then one each for valid and test."""
    rows = [[(user * stride, (user * step + place) * gap) for place in range(10)] for user in range(users)]
    cuts = {"train": slice(0, 8), "valid": slice(8, 9), "test": slice(9, 10)}
    return {part: [pair for row in rows for pair in row[cut]] for part, cut in cuts.items()}


def with_a_newcomer() -> dict[str, Pairs]:
    """One more user, who has nothing in training."""
    parts = histories(6)
    return {"train": parts["train"], "valid": [*parts["valid"], (6, 3)], "test": [*parts["test"], (6, 4)]}


ODD = {
    "one user": histories(1),
    "identical histories": histories(6, step=0),
    "a user without a training history": with_a_newcomer(),
    "ids with gaps": histories(6, stride=1000, gap=10**9),
}


def save(parts: dict[str, Pairs], path: Path) -> Path:
    train, valid, test = (np.array(parts[part], np.int64).reshape(-1, 2) for part in ("train", "valid", "test"))
    np.savez(path, train=train, valid=valid, test=test)
    return path


@pytest.mark.parametrize("order", ["chronological", "none"])
@pytest.mark.parametrize("case", ODD)
def test_it_is_measured_in_both_modes(case: str, order: Order, tmp_path: Path) -> None:
    path = save(ODD[case], tmp_path / "odd.npz")
    problem = read_problem(path, order=order, live="valid:test", seed=0)
    runs = [
        *(Run(preset, 0, changes=(*QUICK, *SHORT)) for preset in ("default", "paper")),
        *(Run(baseline, 0) for baseline in ("popularity", "item-knn", "ease", "ials")),
    ]
    finished = Finished(tmp_path / "runs", problem)
    for run in runs:  # in this process, to save the seconds that starting others takes
        finished.keep(run, here(run, problem, {}, SILENT.phase))
    document = measure_all(problem, runs, SILENT, left_out={}, finished=finished, command="hdrm benchmark accuracy")
    assert [(result.model, result.mode) for result in document.results] == [
        (run.model, mode) for run in runs for mode in ("paper", "live")
    ]
    for result in document.results:
        assert all(0 <= result.metrics[name] <= 1 for name in ("recall@20", "ndcg@20", "precision@20", "mrr@20"))
    assert Document.model_validate_json(document.model_dump_json()) == document
    page = render(document)
    assert "## Paper" in page
    assert "## Live" in page
    assert "nan" not in page


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": [], "valid": [], "test": [(0, 1)]}, "the train part of odd is empty"),
        ({"train": [(0, 1), (0, 2), (0, 3)], "valid": [], "test": []}, "the test part of odd is empty"),
        ({"train": [(0, 1), (1, 2)], "valid": [], "test": [(0, 3)]}, "the stop part of odd is empty"),
        ({"train": [(0, -1)], "valid": [], "test": [(0, 1)]}, "array 'train' has a negative id, -1"),
    ],
)
def test_what_is_wrong_is_said(parts: dict[str, Pairs], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_problem(save(parts, tmp_path / "odd.npz"), order="none", live=None, seed=0)
