"""What `hdrm report` shows and only training can know: learning curves, reverse steps, who gains, noise, topology.

Everything here is measured on the finished model, on samples where all would take long, and with the run's seed, so
that the same training gives the same analysis.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.analysis import Analysis, Curve, Gain, NoiseRow, StepsRow, Strata, Stratum, Topology
from model.artifact import TrainedModel
from model.config import NoiseConfig, SpaceName
from model.history import Histories
from model.noise import forward_noise, noised
from model.recommender import Recommender
from model.space import space
from training.corpus import sample, some
from training.evaluate import ScoreRanker, evaluate
from training.fit import Fit
from training.loop import State
from training.metrics import hits_of, ndcg, recall
from training.splits import Split
from training.topology import (
    graph_neighbours,
    nearest,
    noise_overlap,
    overlap,
    radius_degree_spearman,
    shared,
    transposed,
)

__all__ = ["analyse"]

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

K = 20
SAMPLED = 2000  # users, and items, at most
CELLS = 10_000_000  # of one matrix of distances, at most: fewer items are looked at where the catalogue is large
MOST_STEPS = 5
TIMES = 12
STRATA = 5
NORMAL_95 = 1.96


def analyse(
    fitted: Fit,
    model: TrainedModel,
    split: Split,
    states: Mapping[str, State],
    ranked: Mapping[str, Int32],
    *,
    ours: str,
    plain: str,
    seed: int,
) -> Analysis:
    """Measure everything.

    Args:
        fitted, model, split: the run's results and data.
        states: final states of the training runs by name.
        ranked: the test users' lists by model, (n, at least 20), rows without a truth -1; see `evaluate`.
        ours, plain: the names in `ranked` of the model published and of the same without diffusion.
        seed: of the samples and of the noise.
    """
    n_items = len(split.items)
    generator = np.random.default_rng([seed, 4])
    items = some(generator, np.arange(n_items), min(SAMPLED, CELLS // n_items))
    users = some(generator, np.flatnonzero(split.train.lengths), SAMPLED)
    truth = sample(split.test, SAMPLED, seed)
    graph = graph_neighbours(split.train, n_items, max(min(K, n_items - 1), 1), items)
    compared = _compared(split, ranked, ours=ours, plain=plain)
    return Analysis(
        k=K,
        judged=int((truth.lengths > 0).sum()),
        users=len(users),
        items=len(items),
        curves=[_curve(name, state) for name, state in states.items()],
        steps=_steps(model, split, truth),
        compared=list(compared),
        strata=_strata(split, compared),
        noise=_noise(fitted, split.train.take(users), graph, items, seed=seed),
        topology=[
            *_item_topology(fitted, model, split, graph, items),
            *_user_topology(fitted, model, split, users),
        ],
    )


def _curve(name: str, state: State) -> Curve:
    losses, scores = ([_known(value) for value in values] for values in zip(*state["curve"], strict=True))
    return Curve(run=name, losses=losses, scores=scores, best_epoch=state["best_epoch"])


def _steps(model: TrainedModel, split: Split, truth: Histories) -> list[StepsRow]:
    recommender = model.recommender(np.zeros(len(split.items), np.int64))
    users = np.flatnonzero(truth.lengths)
    wanted = truth.take(users)
    measured = []
    for steps in range(min(MOST_STEPS, model.config.noise.timesteps) + 1):
        ranker = ScoreRanker(_AtSteps(recommender, torch.from_numpy(model.vectors), steps))
        hits = hits_of(evaluate(ranker, split.train, split.masked, truth, k=K)[users], wanted)
        measured.append((recall(hits, wanted.lengths, K), ndcg(hits, wanted.lengths, K)))
    recall_0, ndcg_0 = measured[0]
    return [
        StepsRow(
            steps=steps,
            recall=float(recalls.mean()),
            ndcg=float(ndcgs.mean()),
            recall_gain=_gain(recalls - recall_0),
            ndcg_gain=_gain(ndcgs - ndcg_0),
        )
        for steps, (recalls, ndcgs) in enumerate(measured)
    ]


class _AtSteps:
    """Scores by distance after so many reverse steps, densely: where users are many, a search for each is slower."""

    def __init__(self, recommender: Recommender, vectors: Tensor, steps: int) -> None:
        self.recommender, self.vectors, self.steps = recommender, vectors.double(), steps
        self.space = space(recommender.config.encoder.space)

    def score(self, histories: Histories) -> npt.NDArray[np.float32]:
        users = torch.from_numpy(self.recommender.user_vectors(histories, self.steps)).double()
        parts = torch.split(users, max(CELLS // len(self.vectors), 1))
        scores = [-self.space.pairwise_square(part, self.vectors).float() for part in parts]
        return torch.cat(scores).numpy()


def _compared(split: Split, ranked: Mapping[str, Int32], *, ours: str, plain: str) -> dict[str, Float64]:
    """NDCG of every test user by the model, by itself without diffusion and by the strongest of the others."""
    users = np.flatnonzero(split.test.lengths)
    truth = split.test.take(users)
    scores = {name: ndcg(hits_of(lists[users], truth), truth.lengths, K) for name, lists in ranked.items()}
    others = [name for name in scores if name not in (ours, plain)]
    strongest = max(others, key=lambda name: scores[name].mean(), default=ours)
    return {name: scores[name] for name in (ours, plain, strongest)}


def _strata(split: Split, scores: Mapping[str, Float64]) -> list[Strata]:
    users = np.flatnonzero(split.test.lengths)
    truth = split.test.take(users)
    counts = np.bincount(split.train.items, minlength=len(split.items))
    logs = np.bincount(truth.owners(), np.log1p(counts[truth.items]), len(truth)) / truth.lengths
    return [
        Strata(by="history", groups=_groups(split.train.lengths[users].astype(np.float64), scores)),
        Strata(by="popularity", groups=_groups(np.expm1(logs), scores)),
    ]


def _groups(quantity: Float64, scores: Mapping[str, Float64]) -> list[Stratum]:
    """Groups by the quantity's quantiles; equal values stay together. The first of the models is ours."""
    edges = np.unique(np.quantile(quantity, np.linspace(0, 1, STRATA + 1), method="nearest"))
    group = np.digitize(quantity, edges[1:-1])
    ours, *others = scores
    return [
        Stratum(
            low=float(quantity[mine].min()),
            high=float(quantity[mine].max()),
            users=int(mine.sum()),
            ndcg={name: float(values[mine].mean()) for name, values in scores.items()},
            gains={name: _gain(scores[ours][mine] - scores[name][mine]) for name in others},
        )
        for mine in (group == number for number in range(group.max() + 1))
    ]


def _noise(fitted: Fit, histories: Histories, graph: Int32, items: Int64, *, seed: int) -> list[NoiseRow]:
    """Both kinds at the same times, alike in everything but the kind."""
    config, vectors = fitted.diffusion.config, fitted.items.detach().cpu()
    times = np.unique(np.linspace(0, config.noise.timesteps, TIMES + 1).round().astype(int)).tolist()
    rows = []
    for kind in ("directional", "isotropic"):
        noise = config.noise.model_copy(update={"kind": kind, "angular": False})
        kept = noise_overlap(
            vectors,
            graph,
            noise,
            times,
            max_radius=config.encoder.max_radius,
            geometry=config.encoder.space,
            rows=items,
            generator=torch.Generator().manual_seed(seed),
        )
        lists = _lists_kept(fitted, histories, noise, times, k=graph.shape[1], seed=seed)
        rows += [
            NoiseRow(kind=kind, t=at.t, items=at.neighbours, graph=_known(at.graph), users=same)
            for at, same in zip(kept, lists, strict=True)
        ]
    return rows


@torch.inference_mode()
def _lists_kept(
    fitted: Fit, histories: Histories, config: NoiseConfig, times: list[int], *, k: int, seed: int
) -> list[float]:
    """Mean share of the k items nearest to a user's base estimate that are so after it was noised."""
    diffusion = fitted.diffusion.cpu().eval()
    process, geometry = diffusion.item, diffusion.config.encoder.space
    vectors, messages = fitted.items.cpu(), fitted.messages.cpu()
    base = diffusion.base(diffusion.condition(histories, vectors, messages))
    eps = torch.randn(base.shape, generator=torch.Generator().manual_seed(seed))
    noise = forward_noise(eps, base, process.mu, process.sigma, config)
    before = nearest(diffusion.place(base), vectors, k, geometry=geometry)
    kept = []
    for t in times:
        z_t = noised(base, noise, process.levels[t], config, max_radius=diffusion.config.encoder.max_radius)
        after = nearest(diffusion.place(z_t), vectors, k, geometry=geometry)
        kept.append(float(shared(before, after).mean()))
    return kept


def _item_topology(fitted: Fit, model: TrainedModel, split: Split, graph: Int32, rows: Int64) -> list[Topology]:
    """After every stage."""
    geometry = model.config.encoder.space
    degrees = np.bincount(split.train.items, minlength=len(split.items))
    return [
        _topology(f"items after the {stage}", vectors.detach().cpu(), degrees, graph, rows, geometry=geometry)
        for stage, vectors in fitted.items_after.items()
    ]


def _user_topology(fitted: Fit, model: TrainedModel, split: Split, users: Int64) -> list[Topology]:
    """After the encoder, and as answered: without and with diffusion. Neighbours are looked for among `users` alone."""
    histories = split.train.take(users)
    recommender = model.recommender(np.zeros(len(split.items), np.int64))
    steps, geometry = model.config.steps, model.config.encoder.space
    stages = {
        "users after the encoder": fitted.encoder.users[torch.from_numpy(users)].detach().cpu(),
        "users as answered, 0 steps": torch.from_numpy(recommender.user_vectors(histories, 0)),
        f"users as answered, {steps} steps": torch.from_numpy(recommender.user_vectors(histories, steps)),
    }
    rows = np.arange(len(users))
    graph = graph_neighbours(transposed(histories, len(split.items)), len(users), max(min(K, len(users) - 1), 1), rows)
    return [
        _topology(name, vectors, histories.lengths, graph, rows, geometry=geometry) for name, vectors in stages.items()
    ]


def _topology(
    name: str, vectors: Tensor, degrees: Int64, graph: Int32, rows: Int64, *, geometry: SpaceName
) -> Topology:
    return Topology(
        points=name,
        spearman=_known(radius_degree_spearman(vectors, degrees)),
        overlap=_known(overlap(vectors, graph, rows, geometry=geometry)),
        chance=graph.shape[1] / max(len(vectors) - 1, 1),
    )


def _gain(differences: Float64) -> Gain:
    n = len(differences)
    margin = NORMAL_95 * float(differences.std(ddof=1)) / math.sqrt(n) if n > 1 else None
    return Gain(mean=float(differences.mean()), margin=margin)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
