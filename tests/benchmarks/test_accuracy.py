"""The accuracy benchmark: its arithmetic by hand, and a whole run on planted data."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.accuracy.ablations import ABLATIONS, ISOTROPIC, NO_DENOISER, NO_NOISE, NO_STEPS
from benchmarks.accuracy.benchmark import Observer, choose, measure_all, plan
from benchmarks.accuracy.document import Comparison, Document, Topology
from benchmarks.accuracy.finished import Finished
from benchmarks.accuracy.markdown import render
from benchmarks.accuracy.metrics import accuracy_by_user, catalogue_use
from benchmarks.accuracy.problem import Problem, parse_live, read_problem
from benchmarks.accuracy.runs import Outcome, Run, execute
from benchmarks.baselines.registry import BASELINES
from model.errors import ConfigError, DataError, HdrmError
from model.history import Histories
from tests.conftest import QUICK, planted
from training.data.datasets import Dataset

LEFT_OUT = {"sasrec": "needs data in time order"}
SILENT = Observer(lambda _number, _total, _run: None, lambda _phase, _done, _total: None)


def histories(*rows: list[int]) -> Histories:
    return Histories.of([np.array(row, np.int32) for row in rows])


def pairs(dataset: Dataset, part: str) -> npt.NDArray[np.int32]:
    rows = dataset.interactions.filter(dataset.interactions["part"] == part)
    return np.array([[int(u[1:]), int(i[1:])] for u, i in zip(rows["user_id"], rows["item_id"], strict=True)], np.int32)


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("split") / "pairs.npz"
    dataset = planted(presplit=True)
    train, valid, test = (pairs(dataset, part) for part in ("train", "valid", "test"))
    np.savez(path, train=train, valid=valid, test=test)
    return path


def test_accuracy_of_a_list_by_hand() -> None:
    ranked = np.full((3, 20), -1, np.int32)
    ranked[0, :3] = [5, 7, 9]
    ranked[1, :2] = [1, 2]
    values = accuracy_by_user(ranked, histories([7, 9, 4, 3], [8], []))
    assert values["recall@20"].tolist() == [0.5, 0.0]
    assert values["precision@10"].tolist() == [0.2, 0.0]
    assert values["mrr@20"].tolist() == [0.5, 0.0]
    gained = 1 / np.log2(3) + 1 / np.log2(4)
    ideal = sum(1 / np.log2(place + 2) for place in range(4))
    assert values["ndcg@20"].tolist() == pytest.approx([gained / ideal, 0.0])


def test_hits_beyond_k_do_not_count() -> None:
    ranked = np.arange(20, dtype=np.int32)[None, :]
    values = accuracy_by_user(ranked, histories([12]))
    assert (values["recall@10"][0], values["recall@20"][0]) == (0.0, 1.0)
    assert (values["mrr@10"][0], values["mrr@20"][0]) == (0.0, 1 / 13)


def test_use_of_the_catalogue_by_hand() -> None:
    ranked = np.full((3, 20), -1, np.int32)
    ranked[0, :2], ranked[1, :1], ranked[2, :1] = [0, 1], [1], [3]
    values = catalogue_use(ranked, histories([2], [2], []), np.array([5, 9, 1, 7]))
    assert values["coverage@20"] == 0.5  # the third user has no truth
    assert values["popularity_rank@20"] == pytest.approx((3 + 1 + 1) / 3)


def test_a_split_is_read_with_its_order_and_the_later_question(npz: Path) -> None:
    problem = read_problem(npz, order="chronological", live="valid:test", seed=0)
    paper, live = problem.queries
    assert (paper.mode, live.mode, problem.ordered) == ("paper", "live", True)
    assert len(paper.masked.items) > len(paper.history.items) == len(problem.train.items)
    assert np.array_equal(live.truth.items, paper.truth.items)
    assert len(live.history.items) == len(paper.masked.items)
    assert not read_problem(npz, order="none", live=None, seed=0).ordered


def test_a_split_without_valid_is_read(npz: Path, tmp_path: Path) -> None:
    parts = np.load(npz)
    np.savez(tmp_path / "two.npz", train=parts["train"], test=parts["test"])
    problem = read_problem(tmp_path / "two.npz", order="none", live=None, seed=0)
    assert len(problem.queries[0].masked.items) == len(problem.train.items)
    with pytest.raises(ConfigError, match="no pairs in both parts"):
        read_problem(tmp_path / "two.npz", order="none", live="valid:test", seed=0)


@pytest.mark.parametrize("text", ["valid", "valid:valid", "train:test", "test:valid:x", ""])
def test_a_wrong_later_question_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected HISTORY:TRUTH"):
        parse_live(text)


def test_models_are_chosen_by_name_and_by_what_fits() -> None:
    names, left_out = choose(None, ordered=True, n_items=20_000)
    assert {"default", "paper", "ease", "ials", "sasrec"} <= set(names)
    assert left_out == {}
    names, left_out = choose(None, ordered=False, n_items=20_001)
    assert {"default", "ials", "item-knn"} <= set(names)
    assert left_out["sasrec"] == "needs data in time order"
    assert left_out["ease"] == "is for at most 20,000 items, and there are 20,001"
    assert not left_out.keys() & set(names)
    assert choose(["ease", "default"], ordered=False, n_items=9) == (["ease", "default"], {})
    with pytest.raises(ConfigError, match="no 'best'; there are: default, paper"):
        choose(["best"], ordered=True, n_items=9)
    with pytest.raises(ConfigError, match="--models ease,ease: name each one once"):
        choose(["ease", "ease"], ordered=True, n_items=9)
    with pytest.raises(ConfigError, match="sasrec needs data in time order"):
        choose(["sasrec"], ordered=False, n_items=9)
    with pytest.raises(ConfigError, match="ease is for at most 20,000 items, and there are 30,000"):
        choose(["ease"], ordered=True, n_items=30_000)


def test_closed_forms_run_once_and_ablations_after_the_model_they_change() -> None:
    runs = plan(["default", "ease", "ials"], [3, 4], ablations=True, ordered=True)
    named = [(run.model, run.seed, run.ablation) for run in runs]
    assert named[:4] == [("default", 3, None), ("default", 4, None), ("ease", 3, None), ("ials", 3, None)]
    assert [(name, seed) for _, seed, name in named[5:]] == [
        (a.name, seed) for a in ABLATIONS if a.trained for seed in ((3, 4) if a.every_seed else (3,))
    ]
    assert {a.name for a in ABLATIONS if a.every_seed} == {
        "no noise in training",
        "trained without a denoiser",
        "no attention",
    }
    unordered = plan(["default"], [3], ablations=True, ordered=False)
    of_order = {a.name for a in ABLATIONS if a.needs_order}
    assert {run.ablation for run in runs} - {run.ablation for run in unordered} == of_order
    assert "order ignored, with the settings for that" in of_order
    assert {a.steps for a in runs[0].asked} - {a.steps for a in unordered[0].asked} == {1}
    with pytest.raises(ConfigError, match="--ablations: they are of default"):
        plan(["ease"], [0], ablations=True, ordered=True)


@pytest.fixture(scope="module")
def problem(npz: Path) -> Problem:
    return read_problem(npz, order="chronological", live="valid:test", seed=0)


@pytest.fixture(scope="module")
def document(problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Document:
    """Small models: two seeds, one ablation that is asked and one that is trained."""
    asked = tuple(a for a in ABLATIONS if not a.trained)
    noise = next(a for a in ABLATIONS if a.name == "isotropic noise")
    quick = tuple(QUICK)
    runs = [
        *(Run("default", seed, changes=quick, asked=asked) for seed in (0, 1)),
        Run("ease-recency", 0),
        Run("popularity", 0),
        *(
            Run("default", seed, changes=(*quick, *noise.changes), shared=noise.shared, ablation=noise.name)
            for seed in (0, 1)
        ),
    ]
    finished = Finished(tmp_path_factory.mktemp("benchmark") / "runs", problem)
    return measure_all(problem, runs, SILENT, left_out=LEFT_OUT, finished=finished, command="hdrm benchmark accuracy")


def test_every_run_is_measured_in_every_mode(document: Document) -> None:
    asked = [(r.model, r.ablation, r.seed) for r in document.results if r.mode == "live"]
    shuffled = "denoised vectors shuffled across users"
    assert ("default", None, 1) in asked
    assert (f"default: {shuffled}", shuffled, 0) in asked
    assert ("default: isotropic noise", "isotropic noise", 0) in asked
    assert ("ease-recency", None, 0) in asked
    assert len([r for r in document.results if r.mode == "paper"]) == len(asked)
    for result in document.results:
        assert {"recall@10", "recall@20", "ndcg@20", "precision@20", "mrr@10", "coverage@20"} <= set(result.metrics)
        assert result.fit_seconds >= 0
        assert result.fit_cpu_seconds > 0 or result.preset is None  # popularity is counted in no time
        assert result.peak_rss_bytes > 50 * 2**20
    best = {
        r.ablation: r.metrics["recall@20"]
        for r in document.results
        if (r.preset, r.seed, r.mode) == ("default", 0, "live")
    }
    assert best[None] > best[shuffled]


def test_differences_come_with_intervals(document: Document) -> None:
    pairs = {(c.model, c.other) for c in document.comparisons}
    assert ("default", "ease-recency") in pairs
    assert ("default", "default: isotropic noise") in pairs
    for c in document.comparisons:
        assert c.low <= c.difference <= c.high
        assert c.excludes_zero == (c.low > 0 or c.high < 0)
    values = {
        (r.model, r.seed): r.metrics["ndcg@20"] for r in document.results if r.mode == "paper" and r.ablation is None
    }
    expected = (values["default", 0] + values["default", 1]) / 2 - values["ease-recency", 0]
    found = [
        c.difference
        for c in document.comparisons
        if (c.mode, c.metric, c.model, c.other) == ("paper", "ndcg@20", "default", "ease-recency")
    ]
    assert found == pytest.approx([expected])


def test_the_page_says_what_the_document_says(document: Document) -> None:
    again = Document.model_validate_json(json.dumps(json.loads(document.model_dump_json())))
    assert again == document
    page = render(document)
    assert "## Paper" in page
    assert "## Live" in page
    assert "Left out: sasrec, which needs data in time order." in page
    assert "items' radius-degree Spearman, encoder" in page
    for comparison in document.comparisons:
        assert f"{comparison.difference:+.4f} [{comparison.low:+.4f}, {comparison.high:+.4f}]" in page


def compared(other: str, low: float, high: float, *, model: str = "default") -> Comparison:
    return Comparison(
        mode="paper",
        metric="ndcg@20",
        model=model,
        other=f"default: {other}",
        difference=(low + high) / 2,
        low=low,
        high=high,
        excludes_zero=low > 0 or high < 0,
    )


def test_the_page_says_which_way_a_difference_goes(document: Document) -> None:
    rows = [
        compared("worse", 0.01, 0.02),
        compared("better", -0.02, -0.01),
        compared("unclear", -0.01, 0.01),
        compared("two changes", -0.01, 0.02, model="default: one change"),
    ]
    page = render(document.model_copy(update={"comparisons": rows}))
    assert "The change is shown to be better, for: default: better (paper ndcg@20)." in page
    unclear = "default: unclear (paper ndcg@20); default: two changes beside default: one change (paper ndcg@20)."
    assert f"so nothing is shown to be gained by doing without the change, for: {unclear}" in page
    assert "All else is shown to be worse." in page
    page = render(document.model_copy(update={"comparisons": rows[:1]}))
    assert "Every change is shown to be worse." in page
    page = render(document.model_copy(update={"comparisons": rows[1:]}))
    assert "is shown to be worse" not in page


def test_the_page_says_what_the_diffusion_is_worth(document: Document) -> None:
    rows = [compared(NO_STEPS, 0.01, 0.03), compared(NO_DENOISER, -0.01, 0.02), compared(NO_NOISE, -0.03, -0.01)]
    page = render(document.model_copy(update={"comparisons": rows}))
    assert f"- {NO_STEPS}: paper +0.0200, the interval excludes 0 and `default` is better" in page
    assert f"- {NO_DENOISER}: paper +0.0050, the interval includes 0, so nothing is shown for `default`" in page
    assert f"- {NO_NOISE}: paper -0.0200, the interval excludes 0 and `default` is worse" in page


def test_the_page_says_how_much_of_the_graph_is_kept(document: Document) -> None:
    figures = {
        "items' radius-degree Spearman, encoder": -0.8,
        "items' radius-degree Spearman, diffusion": -0.78,
        "items' graph-neighbour overlap, encoder": 0.4,
        "items' graph-neighbour overlap, attention": None,
        "items' graph-neighbour overlap, diffusion": 0.36,
        "users' graph-neighbour overlap, 0 steps": 0.2,
        "users' graph-neighbour overlap, 3 steps": 0.196,
    }
    page = render(document.model_copy(update={"topology": [Topology(model="default", seed=0, figures=figures)]}))
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines()]
    assert ["90.0%", "no"] in [row[5:7] for row in rows]
    assert ["97.5%", "yes"] in [row[5:7] for row in rows]
    assert ["98.0%", "yes"] in [row[5:7] for row in rows]
    lost = "items' graph-neighbour overlap, encoder to items' graph-neighbour overlap, diffusion (90.0%)"
    assert f"Less than 95% is kept of: default (seed 0), {lost}." in page
    del figures["items' graph-neighbour overlap, encoder"]
    page = render(document.model_copy(update={"topology": [Topology(model="default", seed=0, figures=figures)]}))
    assert "At least 95% is kept of each." in page


def test_the_page_tells_what_was_held_out_and_what_was_dropped(document: Document) -> None:
    data = document.data.model_copy(update={"ordered": False, "dropped": "3 pairs"})
    page = render(document.model_copy(update={"data": data}))
    assert "on the same random tenth of every training history" in page
    assert "Dropped: 3 pairs." in page
    assert not any(word in page for word in ("newest tenth", "came next", "came since", "later"))
    assert "on the same newest tenth of every training history" in render(document)
    assert "Dropped" not in render(document)


def test_the_page_tells_the_load_and_what_seconds_of_fitting_hold(document: Document) -> None:
    page = render(document)
    assert f"load {document.environment.load:.1f} at the end" in page
    assert "Seconds of fitting: item-knn, item-knn-recency, ease, ease-recency, ials look for their settings" in page
    assert "Presets and lightgcn, sasrec look for how long to train, on 4,096 held-out users at most" in page


def test_comparisons_come_in_order_and_take_the_seeds_that_both_have(problem: Problem, tmp_path: Path) -> None:
    """Of lists drawn at random, kept as if they were models' answers."""
    angular = next(a for a in ABLATIONS if a.against == ISOTROPIC).name
    planned = plan(["paper", "default", *reversed(BASELINES)], [3, 4], ablations=True, ordered=True)
    runs = [run for run in planned if run.ablation in (None, NO_NOISE, ISOTROPIC, angular)]
    finished, generator = Finished(tmp_path / "runs", problem), np.random.default_rng(0)
    for run in runs:
        names = ["", *(a.name for a in run.asked)]
        ranked: dict[tuple[str, str], npt.NDArray[np.int32]] = {
            (name, query.mode): generator.permuted(
                np.tile(np.arange(20, dtype=np.int32), (len(query.truth), 1)), axis=1
            )
            for name in names
            for query in problem.queries
        }
        finished.keep(run, Outcome("described", ranked, 1.0, 1.0, dict.fromkeys(names, 1.0), 1))
    made = measure_all(problem, runs, SILENT, left_out={}, finished=finished, command="c")
    baselines = ["ease-recency", "ease", "popularity", "item-knn", "item-knn-recency", "ials", "lightgcn", "sasrec"]
    ablations = [a.name for a in runs[2].asked] + [NO_NOISE, ISOTROPIC, angular]
    assert list(dict.fromkeys((c.model, c.other) for c in made.comparisons)) == [
        *(("default", name) for name in baselines),
        *(("paper", name) for name in baselines),
        ("default", "paper"),
        *(("default", f"default: {name}") for name in ablations),
        (f"default: {ISOTROPIC}", f"default: {angular}"),
    ]
    values = {(r.model, r.seed): r.metrics["ndcg@20"] for r in made.results if r.mode == "live"}
    found = {(c.model, c.other): c.difference for c in made.comparisons if (c.mode, c.metric) == ("live", "ndcg@20")}
    expected = sum(values["default", seed] - values["paper", seed] for seed in (3, 4)) / 2
    assert found["default", "paper"] == pytest.approx(expected)
    isotropic, narrow = f"default: {ISOTROPIC}", f"default: {angular}"
    assert found["default", narrow] == pytest.approx(values["default", 3] - values[narrow, 3])
    assert found[isotropic, narrow] == pytest.approx(values[isotropic, 3] - values[narrow, 3])


@pytest.mark.parametrize("ordered", [True, False])
def test_what_separates_paper_from_default_is_among_the_ablations(ordered: bool) -> None:
    changes = {change for run in plan(["default"], [3], ablations=True, ordered=ordered) for change in run.changes}
    assert changes >= {
        "encoder_fit.loss=hinge",
        "encoder.parametrisation=manifold",
        "diffusion_fit.horizon=1",
        "diffusion.networks=both",
        "diffusion.base=fixed",
    }


def test_the_same_seed_gives_the_same_lists(problem: Problem) -> None:
    run = Run("default", 0, changes=tuple(QUICK))
    first, second = (execute(run, problem, {}, SILENT.phase) for _ in range(2))
    assert all(np.array_equal(first.ranked[key], second.ranked[key]) for key in first.ranked)


def test_a_finished_run_is_not_run_again(problem: Problem, tmp_path: Path) -> None:
    run, begun = Run("default", 0, changes=tuple(QUICK)), []

    def phase(name: str, _done: int, _total: int) -> None:
        begun.append(name)

    observer = Observer(SILENT.run, phase)
    finished = Finished(tmp_path / "runs", problem)
    first = measure_all(problem, [run], observer, left_out={}, finished=finished, command="c")
    assert begun
    begun.clear()
    again = measure_all(problem, [run], observer, left_out={}, finished=finished, command="c")
    assert (again.results, again.topology) == (first.results, first.topology)
    assert not begun
    assert finished.load(Run("default", 1, changes=tuple(QUICK))) is None
    assert finished.load(Run("default", 0, changes=(*QUICK, "steps=2"))) is None
    kept = finished.load(run)
    assert kept is not None
    stages = {"encoder", "attention", "diffusion"}
    assert set(kept.states) == {*stages, *(f"search: {stage}" for stage in stages)}
    (path,) = finished.folder.iterdir()
    path.write_bytes(path.read_bytes()[:1000])  # as if the machine had stopped while it was written
    assert finished.load(run) is None
    (finished.folder / "notes.txt").write_text("someone's")
    finished.clear()
    assert [path.name for path in finished.folder.iterdir()] == ["notes.txt"]
    (finished.folder / "notes.txt").unlink()
    finished.clear()
    assert not finished.folder.exists()


def test_a_finished_run_that_cannot_be_kept_says_so(problem: Problem, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = Outcome("described", {}, 0.0, 0.0, {}, 0)
    with pytest.raises(HdrmError, match="a finished run cannot be kept there"):
        Finished(tmp_path / "file" / "runs", problem).keep(Run("default", 0), outcome)


def test_a_run_that_fails_says_so(problem: Problem) -> None:
    with pytest.raises(ConfigError, match=r"encoder\.dim"):
        execute(Run("default", 0, changes=("encoder.dim=1",)), problem, {}, SILENT.phase)
    with pytest.raises(HdrmError, match="Error"):
        execute(Run("default", 0, changes=tuple(QUICK)), problem, {"encoder": b"no state"}, SILENT.phase)


def test_an_empty_part_to_choose_by_tells_what_would_fill_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "short.npz", train=np.array([[0, 1], [1, 2]]), test=np.array([[0, 2], [1, 1]]))
    with pytest.raises(DataError, match="the stop part of short is empty") as raised:
        read_problem(tmp_path / "short.npz", order="none", live=None, seed=0)
    assert "histories of 3 interactions or more" in str(raised.value.hint)


def test_data_that_cannot_be_split_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "no.npz", train=np.array([[0, 1], [0, 2], [0, 3]]), test=np.zeros((0, 2), np.int64))
    with pytest.raises(DataError, match="the test part of no is empty"):
        read_problem(tmp_path / "no.npz", order="none", live=None, seed=0)
