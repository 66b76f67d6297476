"""One retraining: from data that were checked to a model that was compared, and serves if it is good enough."""

import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from model.artifact import Artifact, load_artifact
from model.errors import ArtifactError
from model.history import Histories
from model.manifest import Manifest, MetricsRow
from model.probe import run_probe
from model.report import Outcome, Rule, RunReport, keep_report, read_reports, refused_versions, report_of
from model.retrieval import FlatIndex
from model.retrieval.calibration import shared
from model.store import ModelStore
from training.config import TrainConfig
from training.data.datasets import Dataset
from training.fit import Found
from training.metrics import summary
from training.retrain.checks import Check, Known, check_data
from training.retrain.compare import ForeignRanker, holdout_metrics, ndcg_difference
from training.retrain.gate import decide
from training.retrain.lease import Lease
from training.retrain.limits import RetrainLimits
from training.retrain.merge import Happened, merged
from training.stages import Length
from training.trainer import Observer, Trained, TrainingRun

__all__ = ["Retraining"]

NAME, DRILL = "retrained", "drill"
SEARCH_EVERY = 7  # retrainings, at least: what was found ages
ALIKE = 0.25  # change of the data's size up to which a search need not be made again
RECALL_USERS, RECALL_K = 256, 20

logger = logging.getLogger("hdrm.training")


@dataclass(frozen=True)
class Retraining:
    """What a run needs.

    Attributes:
        store: of the models.
        base: data of before the events; None for events alone.
        happened: what the log of events holds.
        read_at: when it was read, seconds since 1970.
        config: settings of the training.
        preset: name of the preset the settings started from.
        seed: of all randomness.
        limits: what must hold of the data, and of the model.
        keep: versions that stay in the store, but for those that may be served again.
        force: train also if nothing has happened since the last model.
        observer: is told about progress.
        drill: see `TrainingRun`.
    """

    store: ModelStore
    base: Dataset | None
    happened: Happened
    read_at: float
    config: TrainConfig
    preset: str
    seed: int
    limits: RetrainLimits
    keep: int
    force: bool
    observer: Observer
    drill: bool = False

    def run(self, lease: Lease) -> RunReport:
        """Check, train, compare, decide, and keep a report of it.

        A run that was interrupted is continued, if data, settings and code are the same.

        Args:
            lease: is made sure of before the model is published.

        Raises:
            HdrmError: there are no data, they cannot be split, the training diverges, or the store cannot be written.
        """
        started = time.monotonic()
        current, version = self._current()
        dataset = merged(self.base, self._told(), name=NAME if self.base is None else self.base.info.name)
        report = partial(self._report, started)
        if not self.force and self._known(dataset, current, version):
            return report(version, "unchanged")
        checks = self._checked(dataset, current)
        if not all(check.passed for check in checks):
            return report(version, "invalid", data=_rules(checks))
        found, saved = self._found(current, dataset)
        ended: list[RunReport] = []

        def publish(trained: Trained) -> None:
            candidate, done = trained.result.manifest.version, False
            while not done:  # again where somebody makes another model current meanwhile, or has just gone back to one
                current, version = self._current()
                rules, comparison = self._judged(trained, current)
                passed = all(rule.passed for rule in rules)
                lease.certainly()
                ended.append(
                    report(
                        version,
                        "published" if passed else "refused",
                        data=_rules(checks),
                        gate=rules,
                        candidate=candidate,
                        protocol=trained.split.protocol,
                        comparison=comparison,
                    )
                )
                done = not passed or self.store.succeed(version, candidate)

        TrainingRun(
            dataset,
            self.config,
            preset=self.preset,
            seed=self.seed,
            store=self.store,
            observer=self.observer,
            deletions=self.happened.deletions,
            found=found,
            searches_saved=saved,
            drill=self.drill,
        ).run(resume=True, publish=publish)
        self.store.prune(self.keep, refused=refused_versions(self.store))
        return ended[-1]

    def _current(self) -> tuple[Artifact | None, str | None]:
        """The model that serves and its version; no model if there is none, or it is damaged."""
        version = self.store.current()
        if version is None:
            return None, None
        try:
            return load_artifact(self.store.path(version)), version
        except ArtifactError as error:
            logger.error("the current model cannot be compared with (%s)", error.message)
            return None, version

    def _known(self, dataset: Dataset, current: Artifact | None, version: str | None) -> bool:
        """Whether the current model comes of these data, or the last candidate did and was refused beside it."""
        if current is not None and current.manifest.data.fingerprint == dataset.info.fingerprint:
            return True
        judged = (report for report in read_reports(self.store) if report.outcome in ("published", "refused"))
        last = next(judged, None)
        if last is None or last.outcome != "refused" or last.candidate is None or last.before != version:
            return False
        try:
            refused = self.store.manifest(last.candidate)
        except ArtifactError:  # it is gone
            return False
        same = refused.data.fingerprint == dataset.info.fingerprint and refused.seed == self.seed
        return same and refused.training == self.config.model_dump(mode="json") and not _was_drill(last)

    def _begins(self) -> float | None:
        """When the base data begin, seconds since 1970."""
        if self.base is None or self.base.info.order != "timestamp":
            return None
        return float(self.base.interactions["timestamp"].dt.epoch("us").to_numpy().min() / 1e6)

    def _told(self) -> Happened:
        """What happened, without events of before the base data begin: a wrong clock must not stop all later nights."""
        begins, events = self._begins(), self.happened.events
        kept = events if begins is None else events.filter(events["timestamp"].dt.epoch("us") >= 1e6 * begins)
        if left_out := len(events) - len(kept):
            logger.warning("%d events of before the data begin are left out", left_out)
        return replace(self.happened, events=kept)

    def _checked(self, dataset: Dataset, current: Artifact | None) -> list[Check]:
        last = None
        if current is not None:
            earlier = report_of(self.store, current.manifest.version)
            last = Known.of(current.catalogue, until=None if earlier is None else earlier.read_at)
        return check_data(
            dataset,
            last,
            self.limits.data,
            now=self.read_at,
            begins=self._begins(),
            deleted=self.happened.deletions,
        )

    def _found(self, current: Artifact | None, dataset: Dataset) -> tuple[Found | None, int]:
        """What the current model's search found, where that is of use still, and how often it was used since."""
        if current is None:
            return None, 0
        manifest = current.manifest
        saved = int(manifest.diagnostics.get("searches_saved", 0)) + 1
        grown = len(dataset.interactions) / max(len(current.catalogue.histories.items), 1)
        alike = manifest.training == self.config.model_dump(mode="json") and abs(grown - 1) <= ALIKE
        last = next(iter(read_reports(self.store)), None)
        if not alike or saved >= SEARCH_EVERY or (last is not None and last.outcome == "refused"):
            return None, 0
        return _found_by(manifest, self.config), saved

    def _judged(self, trained: Trained, current: Artifact | None) -> tuple[list[Rule], list[MetricsRow]]:
        """The gate's rules, and the models beside each other."""
        split, ranked = trained.split, trained.ranked
        metrics = {name: summary(lists, split.test) for name, lists in ranked.items()}
        difference = held_out = None
        # without an order what is held out is drawn anew with every change, and there is nothing to compare on; where
        # it is cut in another way the current model has learned from it as well
        alike = current is None or current.manifest.training.get("split") == self.config.split.model_dump()
        if current is not None and split.ordered and alike:
            held_out = holdout_metrics(ForeignRanker(current, split.items), split)
            difference = ndcg_difference(ranked[trained.ours], held_out.ranked, split.test, seed=self.seed)
        ease = [values for name, values in metrics.items() if name.startswith("EASE")]
        artifact, reproduced = self._read_again(trained)
        verdict = decide(
            metrics[trained.ours],
            current=None if held_out is None else held_out.metrics,
            ease=max(ease, key=lambda values: values["ndcg@20"], default=None),
            popularity=metrics["popularity"],
            probe_reproduced=reproduced,
            retrieval_recall=None if artifact is None else _measured_recall(artifact),
            promised_recall=None if artifact is None else artifact.manifest.retrieval.recall.get(f"recall@{RECALL_K}"),
            difference=difference,
            cut_alike=alike or not split.ordered,
            limits=self.limits.gate,
        )
        rules = _rules(verdict.checks)
        if self.drill:
            rules.append(Rule(name=DRILL, passed=False, sentence="it was a drill: no candidate of one is served"))
        rows = [MetricsRow(model=name, values=values) for name, values in metrics.items()]
        if held_out is not None and current is not None:
            rows.insert(-1, MetricsRow(model=f"current: {current.manifest.version}", values=held_out.metrics))
        rows[-1] = rows[-1].model_copy(update={"model": f"candidate: {trained.result.manifest.version}"})
        return rules, rows

    def _read_again(self, trained: Trained) -> tuple[Artifact | None, bool]:
        try:
            artifact = load_artifact(trained.result.path)
            run_probe(artifact.recommender, artifact.probe)
        except ArtifactError as error:
            logger.error("%s", error.message)
            return None, False
        return artifact, True

    def _report(self, started: float, before: str | None, outcome: Outcome, **found: object) -> RunReport:
        now = datetime.now(UTC)
        report = RunReport(
            run_id=f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}",
            started_at=datetime.fromtimestamp(self.read_at, UTC).isoformat(timespec="seconds"),
            read_at=self.read_at,
            seconds=round(time.monotonic() - started, 1),
            outcome=outcome,
            before=before,
            events=len(self.happened.events),
            **found,  # type: ignore[arg-type]
        )
        keep_report(self.store, report)
        return report


def _was_drill(report: RunReport) -> bool:
    return any(rule.name == DRILL for rule in report.gate)


def _rules(checks: Iterable[Check]) -> list[Rule]:
    return [Rule(name=check.name, passed=check.passed, sentence=check.sentence) for check in checks]


def _found_by(manifest: Manifest, config: TrainConfig) -> Found:
    """What a model's search found, by its manifest."""
    config = config.resolved(ordered=manifest.data.ordered)
    if not manifest.model.attention.length:
        config = config.without_attention()
    known = manifest.diagnostics
    stages = [name.removesuffix("_schedule") for name in known if name.endswith("_schedule")]
    lengths = {
        name: Length(int(known[f"{name}_epochs"]), int(known[f"{name}_schedule"]))
        for name in stages
        if f"{name}_epochs" in known
    }
    return Found(config, lengths, {})


def _measured_recall(artifact: Artifact) -> float | None:
    """Share of the nearest items that an approximate index finds for some of the users; None for a scan."""
    if artifact.manifest.retrieval.kind == "scan":
        return None
    catalogue, config = artifact.catalogue, artifact.manifest.model
    users = np.flatnonzero(catalogue.histories.lengths)
    chosen = users[np.linspace(0, len(users) - 1, min(RECALL_USERS, len(users))).astype(np.int64)]
    queries, nothing = np.array(catalogue.user_vectors[chosen]), Histories.empty(len(chosen))
    exact = FlatIndex(artifact.model.vectors, geometry=config.encoder.space)
    found, truth = (
        index.search(queries, [RECALL_K] * len(queries), nothing) for index in (artifact.recommender.index, exact)
    )
    return shared(found, truth)
