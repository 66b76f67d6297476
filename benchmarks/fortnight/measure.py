"""A fortnight day by day: the same users, and a frozen model, one with live events, and one trained every night."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.environment import environment
from benchmarks.fortnight.document import METRICS, POLICIES, Day, Difference, Document, Night, Policy
from benchmarks.fortnight.kept import Kept, Scored
from benchmarks.fortnight.timeline import Timeline
from model.artifact import Artifact, load_artifact
from model.errors import DataError
from model.report import RunReport, read_reports
from model.store import ModelStore
from training.bootstrap import paired_bootstrap
from training.config import TrainConfig
from training.evaluate import evaluate
from training.metrics import hits_of, ndcg, recall
from training.retrain.compare import ForeignRanker
from training.retrain.lease import Lease, held_lease
from training.retrain.limits import RetrainLimits
from training.retrain.retraining import Retraining
from training.trainer import Observer

__all__ = ["Plan", "measure_fortnight"]

Float64 = npt.NDArray[np.float64]

K = 20
PAIRS: tuple[tuple[Policy, Policy], ...] = (("live", "frozen"), ("retrained", "live"))


@dataclass(frozen=True)
class Plan:
    """How it is trained every night.

    Attributes:
        config: settings, of which `preset` and `changes` tell.
        limits: of which `limited` tells.
        seed: of all randomness.
    """

    config: TrainConfig
    preset: str
    changes: Sequence[str]
    limits: RetrainLimits
    limited: Sequence[str]
    seed: int

    def identity(self) -> list[object]:
        """What tells it from others, as JSON can hold it."""
        return [self.config.model_dump(mode="json"), self.preset, self.limits.model_dump(mode="json"), self.seed]


def measure_fortnight(
    timeline: Timeline,
    plan: Plan,
    *,
    kept: Kept,
    command: str,
    observer: Observer,
    on_day: Callable[[int, Day], None],
) -> Document:
    """Every day: train in the night before it, then ask for its interactions, from what there was when it began.

    Args:
        timeline: the days.
        plan: of the nights.
        kept: days that are done are taken from there and put there, and so are models.
        command: what was typed, for the document.
        observer: of the trainings.
        on_day: told of every day that is done, by its number.

    Raises:
        DataError: the first model, which all begin with, was not good enough to serve.
        HdrmError: as `Retraining.run`, or a day cannot be kept.
    """
    store = kept.store()
    store.prepare()
    scored: list[Scored] = []
    with held_lease(store.folder) as lease:
        for day in range(timeline.days):
            done = kept.load(day)
            if done is None:
                night = _night(timeline, day, plan, store, lease, observer)
                first = scored[0].day.night.version if scored else night.version
                done = _asked(timeline, day, night, load_artifact(store.path(first)), store)
                kept.keep(day, done)
            scored.append(done)
            on_day(day, done.day)
    compared, means, differences = _over_days(scored[1:], len(timeline.users), plan.seed)
    return Document(
        environment=environment(command, trained=True),
        data=timeline.info.name,
        fingerprint=timeline.info.fingerprint,
        interactions=len(timeline.base.interactions),
        users=len(timeline.users),
        items=len(timeline.items),
        dealt=timeline.dates is None,
        preset=plan.preset,
        changes=list(plan.changes),
        limits=list(plan.limited),
        seed=plan.seed,
        held_out=plan.config.split.test,
        days=[one.day for one in scored],
        compared=compared,
        means=means,
        differences=differences,
    )


def _night(timeline: Timeline, day: int, plan: Plan, store: ModelStore, lease: Lease, observer: Observer) -> Night:
    report = _retrained(timeline, day, plan, store, lease, observer)
    version = store.current()
    if version is None:
        raise DataError(
            "the first model may not serve: " + "; ".join(report.failed),
            hint="take more data or other settings, or widen the limit (hdrm retrain --limits tells them)",
        )
    searched = None
    if report.candidate is not None:
        searched = not store.manifest(report.candidate).diagnostics["searches_saved"]
    return Night(
        events=len(timeline.truth(day - 1).items) if day else 0,
        new_users=timeline.new(day - 1, "user") if day else 0,
        new_items=timeline.new(day - 1, "item") if day else 0,
        outcome=report.outcome,
        failed=report.failed,
        seconds=report.seconds,
        searched=searched,
        version=version,
    )


def _retrained(
    timeline: Timeline, day: int, plan: Plan, store: ModelStore, lease: Lease, observer: Observer
) -> RunReport:
    """What became of the retraining before a day, which was perhaps made before an interruption."""
    read_at = timeline.begins[day]
    earlier = next((report for report in read_reports(store) if report.read_at == read_at), None)
    if earlier is not None:
        if earlier.outcome == "published" and earlier.candidate is not None:
            store.activate(earlier.candidate)  # of which the interruption may have kept it
        return earlier
    retraining = Retraining(
        store=store,
        base=timeline.base,
        happened=timeline.happened(day),
        read_at=read_at,
        config=plan.config,
        preset=plan.preset,
        seed=plan.seed,
        limits=plan.limits,
        keep=timeline.days,
        force=False,
        observer=observer,
    )
    return retraining.run(lease)


def _asked(timeline: Timeline, day: int, night: Night, first: Artifact, store: ModelStore) -> Scored:
    """All policies on a day. What anybody has taken before is not recommended by any."""
    before, now, truth = timeline.histories(0), timeline.histories(day), timeline.truth(day)
    users = np.flatnonzero(truth.lengths)
    wanted = truth.take(users)
    asked = {
        "frozen": (first, before),
        "live": (first, now),
        "retrained": (load_artifact(store.path(night.version)), now),
    }
    values = []
    for policy in POLICIES:
        artifact, histories = asked[policy]
        lists = evaluate(ForeignRanker(artifact, timeline.items), histories, now, truth, k=K)[users]
        hits = hits_of(lists, wanted)
        values.append([measure(hits, wanted.lengths, K) for measure in (recall, ndcg)])
    table = np.array(values)
    figures = {
        policy: {metric: float(row.mean()) for metric, row in zip(METRICS, rows, strict=True)}
        for policy, rows in zip(POLICIES, table, strict=True)
    }
    name = str(day + 1) if timeline.dates is None else timeline.dates[day].isoformat()
    without = int(np.count_nonzero(now.lengths[users] == 0))
    return Scored(Day(name=name, users=len(users), without_history=without, night=night, figures=figures), users, table)


def _over_days(
    scored: Sequence[Scored], n_users: int, seed: int
) -> tuple[int, dict[Policy, dict[str, float]], list[Difference]]:
    """Users with a day, means over them, each one's mean over their days counting once, and differences."""
    if not scored:
        return 0, {}, []
    counts, sums = np.zeros(n_users), np.zeros((len(POLICIES), len(METRICS), n_users))
    for one in scored:
        counts[one.users] += 1
        sums[:, :, one.users] += one.values
    there = counts > 0
    values: Float64 = sums[:, :, there] / counts[there]
    by_name = {policy: dict(zip(METRICS, rows, strict=True)) for policy, rows in zip(POLICIES, values, strict=True)}
    means = {policy: {metric: float(row.mean()) for metric, row in rows.items()} for policy, rows in by_name.items()}
    differences = [
        Difference(
            better=better,
            other=other,
            metric=metric,
            **paired_bootstrap(by_name[better][metric], by_name[other][metric], seed=seed)._asdict(),
        )
        for better, other in PAIRS
        for metric in METRICS
    ]
    return int(there.sum()), means, differences
