"""One run: a model is fitted and asked. Each runs in a process of its own, whose memory is then the run's."""

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.accuracy.ablations import Ablation
from benchmarks.accuracy.problem import Problem
from benchmarks.apart import Progress, run_apart
from benchmarks.baselines.registry import BASELINES
from benchmarks.memory import peak_rss
from model.artifact import TrainedModel
from model.history import Histories
from model.space import space
from training.config import load_config
from training.corpus import Corpus
from training.evaluate import Ranker, RecommenderRanker, ScoreRanker, evaluate
from training.export import build_model
from training.fit import SEARCH, Fit, fit
from training.loop import Epoch, Stage, State, run_stage
from training.topology import graph_neighbour_overlap, radius_degree_spearman, transposed

__all__ = ["Outcome", "Run", "execute", "here"]

Int32 = npt.NDArray[np.int32]

TOPOLOGY_USERS = 3000
EPOCHS = " epochs"


@dataclass(frozen=True)
class Run:
    """What is to be fitted and asked.

    Attributes:
        model: a preset's or a baseline's name.
        seed: of all randomness.
        changes: settings that differ from the preset's.
        asked: for a preset: the ablations that need no training of their own, asked of the same fit.
        shared: stages whose states are given, not run.
        ablation: what the changes are, or None.
    """

    model: str
    seed: int
    changes: tuple[str, ...] = ()
    asked: tuple[Ablation, ...] = ()
    shared: tuple[str, ...] = ()
    ablation: str | None = None

    @property
    def title(self) -> str:
        """For people."""
        name = self.model if self.ablation is None else f"{self.model}: {self.ablation}"
        return f"{name} (seed {self.seed})"


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        described: the model and its settings, for people.
        ranked: ranked lists (n, 20) by the name of what was asked ("" the model itself, or an ablation's) and mode.
        fit_seconds: wall-clock, the model's own tuning included.
        fit_cpu_seconds: of all threads meanwhile, which other work on the machine disturbs less.
        evaluation_seconds: wall-clock by the name of what was asked, all modes together.
        peak_rss_bytes: of the process.
        figures: of HDRM: gate, epochs, topology.
        states: of HDRM: the stages' final states as `torch.save` writes them, for runs that share them. Tensors
            themselves would not outlive the process that sends them.
    """

    described: str
    ranked: dict[tuple[str, str], Int32]
    fit_seconds: float
    fit_cpu_seconds: float
    evaluation_seconds: dict[str, float]
    peak_rss_bytes: int
    figures: dict[str, float] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)

    @property
    def given_up(self) -> list[str]:
        """Stages of HDRM that the search did without: none of their epochs was better than what there was before."""
        searched = {name: epochs for name, epochs in self.figures.items() if name.startswith(SEARCH)}
        names = [(name, name.removeprefix(SEARCH)) for name in searched]
        return [own.removesuffix(EPOCHS) for name, own in names if searched[name] == 0 or own not in self.figures]


def execute(run: Run, problem: Problem, states: Mapping[str, bytes], progress: Progress) -> Outcome:
    """In a fresh process.

    Args:
        run: what to do.
        problem: the data.
        states: those that the run shares.
        progress: told a phase, how much of it is done and how much it is at most.

    Raises:
        HdrmError: whatever the run raises, or its process died.
    """
    return run_apart(here, run, problem, dict(states), title=run.title, progress=progress)


def here(run: Run, problem: Problem, states: Mapping[str, bytes], progress: Progress) -> Outcome:
    """The same in this process."""
    began, began_cpu = time.monotonic(), time.process_time()
    figures: dict[str, float] = {}
    final: dict[str, State] = {}
    rankers: dict[str, Ranker]
    if run.model in BASELINES:
        fitted = BASELINES[run.model].fit(
            problem.search,
            problem.stop,
            problem.n_items,
            ordered=problem.ordered,
            seed=run.seed,
            progress=progress,
        )
        fit_seconds, fit_cpu = time.monotonic() - began, time.process_time() - began_cpu
        rankers, described = {"": fitted.ranker}, fitted.describe()
    else:
        known = {name: torch.load(io.BytesIO(state), weights_only=True) for name, state in states.items()}
        hdrm, final = _fit(run, problem, known, progress)
        fit_seconds, fit_cpu = time.monotonic() - began, time.process_time() - began_cpu
        model = build_model(hdrm, problem.train)
        rankers, described = _rankers(run, hdrm, model, problem), f"HDRM, {run.model}"
        figures = _figures(hdrm, model, final, problem)
    ranked: dict[tuple[str, str], Int32] = {}
    seconds = {}
    for name, ranker in rankers.items():
        began = time.monotonic()
        for query in problem.queries:
            progress("evaluation", len(ranked), len(rankers) * len(problem.queries))
            ranked[name, query.mode] = evaluate(ranker, query.history, query.masked, query.truth)
        seconds[name] = time.monotonic() - began
    kept = {name: _bytes(state) for name, state in final.items()}
    return Outcome(described, ranked, fit_seconds, fit_cpu, seconds, peak_rss(), figures, kept)


def _bytes(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _fit(run: Run, problem: Problem, states: dict[str, State], progress: Progress) -> tuple[Fit, dict[str, State]]:
    config = load_config(run.model, run.changes).resolved(ordered=problem.ordered)
    corpus = Corpus(problem.train, problem.n_items, config.order == "used")
    final: dict[str, State] = {}

    def stage(made: Stage, name: str, epochs: int, patience: int | None) -> State:
        def told(epoch: Epoch) -> None:
            progress(name, epoch.number, epochs)

        final[name] = run_stage(
            made,
            name=name,
            epochs=epochs,
            patience=patience,
            state=states.get(name),
            on_epoch=told,
            on_state=lambda _: None,
        )
        return final[name]

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fitted = fit(
        corpus,
        problem.search,
        problem.stop,
        config,
        seed=run.seed,
        device=device,
        run=stage,
    )
    return fitted, final


def _rankers(run: Run, fitted: Fit, model: TrainedModel, problem: Problem) -> dict[str, Ranker]:
    recommender = model.recommender(problem.counts)
    rankers: dict[str, Ranker] = {"": RecommenderRanker(recommender)}
    for ablation in run.asked:
        rankers[ablation.name] = (
            ScoreRanker(_Shuffled(fitted, run.seed))
            if ablation.shuffled
            else RecommenderRanker(recommender, steps=ablation.steps)
        )
    return rankers


class _Shuffled:
    """Scores users by a denoised vector that is another user's.

    Args:
        fitted: the model.
        seed: of who gets whose.
    """

    def __init__(self, fitted: Fit, seed: int) -> None:
        self.diffusion = fitted.diffusion.cpu().eval()
        self.items, self.messages = fitted.items.cpu(), fitted.messages.cpu()
        self.generator = np.random.default_rng([seed, 6])

    @torch.no_grad()
    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        diffusion, items = self.diffusion, self.items
        condition = diffusion.condition(histories, items, self.messages)
        others = torch.from_numpy(self.generator.permutation(len(histories)))
        denoised = [
            target.process.reverse(target.anchor, target.condition, diffusion.config.steps)[others]
            for target in diffusion.targets(condition)
        ]
        users = diffusion.mix(condition, denoised)
        scores: npt.NDArray[np.float32] = -space(diffusion.config.encoder.space).pairwise_square(users, items).numpy()
        return scores


def _figures(fitted: Fit, model: TrainedModel, states: dict[str, State], problem: Problem) -> dict[str, float]:
    """The gate, the epochs, and the graph's shape: in the items after every stage, in the encoder's users, in users'
    answers without and with diffusion."""
    geometry = model.config.encoder.space
    figures = {"gate": fitted.diffusion.gate.item()}
    figures |= {f"{name}{EPOCHS}": float(state["best_epoch"]) for name, state in states.items()}
    for stage, vectors in fitted.items_after.items():
        figures[f"items' radius-degree Spearman, {stage}"] = radius_degree_spearman(vectors.cpu(), problem.counts)
        overlap = graph_neighbour_overlap(vectors.cpu(), problem.train, geometry=geometry)
        figures[f"items' graph-neighbour overlap, {stage}"] = overlap
    users = np.flatnonzero(problem.train.lengths)
    users = users[np.linspace(0, len(users) - 1, min(len(users), TOPOLOGY_USERS)).astype(np.int64)]
    histories = problem.train.take(users)
    graph, recommender = transposed(histories, problem.n_items), model.recommender(problem.counts)
    clouds = {"encoder": fitted.encoder.users[torch.from_numpy(users)].cpu()}
    for steps in (0, model.config.steps):
        clouds[f"{steps} steps"] = torch.from_numpy(recommender.user_vectors(histories, steps))
    for name, vectors in clouds.items():
        figures[f"users' graph-neighbour overlap, {name}"] = graph_neighbour_overlap(vectors, graph, geometry=geometry)
    return figures
