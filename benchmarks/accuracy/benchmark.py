"""The benchmark: all runs, one after the other, and the document they make."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.accuracy.ablations import ABLATIONS, Ablation
from benchmarks.accuracy.document import Comparison, Data, Document, Result, Topology
from benchmarks.accuracy.finished import Finished
from benchmarks.accuracy.metrics import accuracy_by_user, catalogue_use
from benchmarks.accuracy.problem import Problem, Query
from benchmarks.accuracy.runs import Outcome, Run, execute
from benchmarks.apart import Progress
from benchmarks.baselines.baseline import unsuited
from benchmarks.baselines.registry import BASELINES
from benchmarks.environment import environment
from model.errors import ConfigError
from training.bootstrap import paired_bootstrap
from training.config import load_config, preset_names

__all__ = ["Observer", "choose", "measure_all", "plan"]

ABLATED = "default"
REFERENCES = ("ease-recency", "ease")  # what a preset is compared with
COMPARED = ("recall@20", "ndcg@20")

ByUser = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Observer:
    """Who is told about progress.

    Attributes:
        run: run i (from 1) of n begins.
        phase: within it: a phase, how much is done and how much it is at most.
    """

    run: Callable[[int, int, Run], None]
    phase: Progress


def choose(models: Sequence[str] | None, *, ordered: bool, n_items: int) -> tuple[list[str], dict[str, str]]:
    """The models to run, by default all that suit the data; and why others are left out.

    Raises:
        ConfigError: an unknown name, or one that does not suit the data.
    """
    known = [*preset_names(), *BASELINES]
    reasons = {name: unsuited(each, ordered=ordered, n_items=n_items) for name, each in BASELINES.items()}
    left_out = {name: reason for name, reason in reasons.items() if reason is not None}
    if models is not None and len(set(models)) < len(models):
        raise ConfigError(f"--models {','.join(models)}: name each one once")
    for name in models or ():
        if name not in known:
            raise ConfigError(f"--models: no {name!r}; there are: {', '.join(known)}")
        if name in left_out:
            hint = None if ordered else "--order chronological says that pairs stand in time order"
            raise ConfigError(f"--models: {name} {left_out[name]}", hint=hint)
    if models:
        return list(models), {}
    return [name for name in known if name not in left_out], left_out


def plan(models: Sequence[str], seeds: Sequence[int], *, ablations: bool, ordered: bool) -> list[Run]:
    """All runs in order; ablations come after the default models whose stages they share.

    They run with the first seed; those without a training of their own and those that say so with every seed.

    Raises:
        ConfigError: ablations of a model that is not run.
    """
    if ablations and ABLATED not in models:
        raise ConfigError(f"--ablations: they are of {ABLATED}, which --models leaves out")
    runs: list[Run] = []
    different = _different(ordered=ordered) if ablations else ()
    for name in models:
        asked = tuple(a for a in different if not a.trained and name == ABLATED)
        # a closed form has no luck to average over
        used = seeds if name not in BASELINES or BASELINES[name].random else seeds[:1]
        runs += [Run(name, seed, asked=asked) for seed in used]
    return runs + [
        Run(ABLATED, seed, changes=a.changes, shared=a.shared, ablation=a.name)
        for a in different
        if a.trained
        for seed in (seeds if a.every_seed else seeds[:1])
    ]


def _different(*, ordered: bool) -> tuple[Ablation, ...]:
    """The ablations that make a difference to the model for such data."""
    default = load_config(ABLATED).resolved(ordered=ordered)

    def changes(ablation: Ablation) -> bool:
        if ablation.trained:
            return load_config(ABLATED, ablation.changes).resolved(ordered=ordered) != default
        return ablation.steps != default.steps

    return tuple(a for a in ABLATIONS if (ordered or not a.needs_order) and changes(a))


def measure_all(
    problem: Problem,
    runs: Sequence[Run],
    observer: Observer,
    *,
    left_out: Mapping[str, str],
    finished: Finished,
    command: str,
) -> Document:
    """Run everything and compare.

    Args:
        problem: the data.
        runs: as `plan` makes them.
        observer: who is told about progress.
        left_out: models that do not suit the data, and why, for the record.
        finished: where outcomes are kept, and those there are taken from.
        command: that led here, for the record.

    Raises:
        HdrmError: a run fails.
    """
    results, topology = [], []
    by_user: dict[tuple[str, str | None, int], dict[str, ByUser]] = {}
    kept: dict[int, dict[str, bytes]] = {}
    for number, run in enumerate(runs, 1):
        observer.run(number, len(runs), run)
        outcome = finished.load(run)
        if outcome is None:
            # a stage that was given up has no state
            shared = {name: kept[run.seed][name] for name in run.shared if name in kept[run.seed]}
            outcome = execute(run, problem, shared, observer.phase)
            finished.keep(run, outcome)
        if run.model == ABLATED and run.ablation is None:
            kept[run.seed] = outcome.states
        for name in dict.fromkeys(name for name, _ in outcome.ranked):
            ablation = name or run.ablation
            by_user[run.model, ablation, run.seed] = {}
            for query in problem.queries:
                values = accuracy_by_user(outcome.ranked[name, query.mode], query.truth)
                by_user[run.model, ablation, run.seed][query.mode] = values
                results.append(
                    _result(run, ablation, outcome, query, outcome.ranked[name, query.mode], values, problem)
                )
        if outcome.figures and run.ablation is None:
            figures = {name: None if math.isnan(value) else value for name, value in outcome.figures.items()}
            topology.append(Topology(model=run.model, seed=run.seed, figures=figures))
    return Document(
        data=Data(
            name=problem.name,
            fingerprint=problem.fingerprint,
            users=len(problem.search),
            items=problem.n_items,
            interactions=len(problem.train.items),
            ordered=problem.ordered,
            protocol=problem.protocol,
            dropped=problem.dropped,
        ),
        environment=environment(command, trained=True),
        results=results,
        comparisons=_comparisons(by_user, runs[0].seed),
        topology=topology,
        left_out=dict(left_out),
    )


def _result(
    run: Run,
    ablation: str | None,
    outcome: Outcome,
    query: Query,
    ranked: npt.NDArray[np.int32],
    values: ByUser,
    problem: Problem,
) -> Result:
    metrics = {name: float(value.mean()) for name, value in values.items()}
    return Result(
        model=_name(run.model, ablation),
        preset=None if run.model in BASELINES else run.model,
        ablation=ablation,
        described=_described(outcome) if ablation is None else f"{_described(outcome)}: {ablation}",
        given_up=outcome.given_up,
        seed=run.seed,
        mode=query.mode,
        metrics=metrics | catalogue_use(ranked, query.truth, problem.counts),
        fit_seconds=round(outcome.fit_seconds, 2),
        fit_cpu_seconds=round(outcome.fit_cpu_seconds, 2),
        evaluation_seconds=round(outcome.evaluation_seconds[(ablation if run.ablation is None else None) or ""], 2),
        peak_rss_bytes=outcome.peak_rss_bytes,
    )


def _described(outcome: Outcome) -> str:
    return f"{outcome.described}{''.join(f', {stage} given up' for stage in outcome.given_up)}"


def _comparisons(
    by_user: Mapping[tuple[str, str | None, int], Mapping[str, ByUser]], first_seed: int
) -> list[Comparison]:
    """Each preset with the baselines, the default with other presets and with each of its ablations, and ablations
    with those they differ from in one thing (over the seeds both have)."""
    seeds: dict[tuple[str, str | None], list[int]] = {}
    for model, ablation, seed in by_user:
        seeds.setdefault((model, ablation), []).append(seed)
    pairs: list[tuple[tuple[str, str | None], tuple[str, str | None]]] = [
        ((preset, None), (other, None))
        for preset in preset_names()
        for other in (*REFERENCES, *(name for name in BASELINES if name not in REFERENCES))
        if (preset, None) in seeds and (other, None) in seeds
    ]
    pairs += [
        ((ABLATED, None), (preset, None))
        for preset in preset_names()
        if preset != ABLATED and {(ABLATED, None), (preset, None)} <= seeds.keys()
    ]
    pairs += [((ABLATED, None), key) for key in seeds if key[1] is not None]
    pairs += [
        ((ABLATED, a.against), (ABLATED, a.name))
        for a in ABLATIONS
        if a.against is not None and {(ABLATED, a.against), (ABLATED, a.name)} <= seeds.keys()
    ]
    comparisons = []
    for one, other in pairs:
        common = [seed for seed in seeds[one] if seed in seeds[other]]
        # a model without luck has one seed that stands for all
        used = {one: seeds[one] if len(seeds[other]) == 1 and other[1] is None else common, other: seeds[other]}
        if other[1] is not None:
            used[other] = common
        for mode in by_user[(*one, seeds[one][0])]:
            for metric in COMPARED:
                means = [
                    np.mean([by_user[(*key, seed)][mode][metric] for seed in used[key]], axis=0) for key in (one, other)
                ]
                interval = paired_bootstrap(means[0], means[1], seed=first_seed)
                comparisons.append(
                    Comparison(
                        mode=mode,
                        metric=metric,
                        model=_name(*one),
                        other=_name(*other),
                        difference=interval.difference,
                        low=interval.low,
                        high=interval.high,
                        excludes_zero=interval.excludes_zero,
                    )
                )
    return comparisons


def _name(model: str, ablation: str | None) -> str:
    return model if ablation is None else f"{model}: {ablation}"
