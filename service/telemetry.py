"""Prometheus metrics. Each application has its own registry; several worker processes share theirs by files."""

from datetime import datetime
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from model.manifest import RetrievalInfo

__all__ = ["Telemetry"]

REQUEST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
LAG_BUCKETS = (0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 86400.0)
INFERENCE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)


class Telemetry:
    """The service's metrics.

    Args:
        shared: folder in which worker processes share their metrics; prometheus_client writes there when
            PROMETHEUS_MULTIPROC_DIR names it. None for a single process.

    Attributes:
        requests: seconds by method, route template and status.
        answers: answers by strategy and model.
        event_lag: seconds from an event to this worker's knowing of it.
        inference: seconds of inference a batch.
        batches: queries in a batch.
        model_seconds: seconds of an answer by model and outcome, while there are several models.
        retrievals: searches by whether the first over-fetch was certified.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self._shared = shared
        self.registry = registry = CollectorRegistry()
        self.requests = Histogram(
            "hdrm_request_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._lookups = Counter("hdrm_cache_lookups", "Cache lookups.", ("backend", "outcome"), registry=registry)
        self.answers = Counter(
            "hdrm_answers", "Answers by strategy and by model.", ("strategy", "version"), registry=registry
        )
        self._events = Counter(
            "hdrm_events", "Events by what became of them: new, repeated or rejected.", ("outcome",), registry=registry
        )
        self.event_lag = Histogram(
            "hdrm_event_lag_seconds",
            "From when an event happened to when this worker knew of it.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.inference = Histogram(
            "hdrm_inference_seconds", "Time of inference.", buckets=INFERENCE_BUCKETS, registry=registry
        )
        self.batches = Histogram(
            "hdrm_batch_queries", "Queries inferred together.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.retrievals = Counter(
            "hdrm_retrievals",
            "Exact retrievals; certified_first: the first over-fetch was enough.",
            ("certified_first",),
            registry=registry,
        )
        self._rounds = Counter("hdrm_retrieval_rounds", "Searches that the retrievals took.", registry=registry)
        self._model = Gauge(
            "hdrm_model_info",
            "1 for the model served, 0 for those that were served before it.",
            ("version",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._refused = Gauge(
            "hdrm_model_refused",
            "1 while the store's current model cannot be served and another serves on.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._swaps = Counter(
            "hdrm_model_swaps", "Changes of the model served: swapped or refused.", ("outcome",), registry=registry
        )
        self.model_seconds = Histogram(
            "hdrm_model_answer_seconds",
            "Time of an answer by model and outcome (ok, error), while a canary is tried out.",
            ("version", "outcome"),
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self._recall = Gauge(
            "hdrm_retrieval_recall",
            "Share of the nearest 20 items that a search finds, as measured in training; 1 where it is exact.",
            ("kind",),
            registry=registry,
            multiprocess_mode="min",
        )
        self._created = Gauge(
            "hdrm_model_created_timestamp_seconds",
            "When the training of the model served ended, seconds since 1970.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        Counter("hdrm_worker_starts", "Processes that began to serve.", registry=registry).inc()
        if shared is None:  # of several processes, it would be about whichever is asked
            ProcessCollector(registry=registry)

        # labels() costs more than counting does, so what it finds is kept; the values of labels are few
        self._timed: dict[tuple[str, str, int], Histogram] = {}
        self._counted: dict[tuple[Counter, tuple[str, ...]], Counter] = {}

    def time_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request and its time."""
        timed = self._timed.get((method, route, status))
        if timed is None:
            timed = self._timed[method, route, status] = self.requests.labels(method, route, str(status))
        timed.observe(seconds)

    def count_lookup(self, backend: str, outcome: str) -> None:
        """Count a lookup in a cache: hit, miss or error."""
        self._count(self._lookups, backend, outcome)

    def count_answer(self, strategy: str, version: str) -> None:
        """Count an answer, by how it was found and by which model."""
        self._count(self.answers, strategy, version)

    def count_events(self, outcome: str, number: int) -> None:
        """Count events: new, repeated or rejected."""
        self._count(self._events, outcome, number=number)

    def count_rounds(self, rounds: int) -> None:
        """Count one retrieval that took this many searches."""
        self._count(self.retrievals, "true" if rounds == 1 else "false")
        self._rounds.inc(rounds)

    def serve_model(
        self, version: str, retrieval: RetrievalInfo, created_at: str, *, before: str | None = None
    ) -> None:
        """Say which model is served, how its items are found, when it was made, and which was served before it."""
        if before is not None:
            self._model.labels(before).set(0)
        self._model.labels(version).set(1)
        self._created.set(datetime.fromisoformat(created_at).timestamp())
        self._recall.labels(retrieval.kind).set(min(retrieval.recall.values(), default=1.0))

    def refuse_model(self, *, refused: bool) -> None:
        """Say whether the store's current model cannot be served."""
        self._refused.set(refused)

    def time_model(self, version: str, seconds: float, *, failed: bool) -> None:
        """Count an answer by one of several models, and its time."""
        self.model_seconds.labels(version, "error" if failed else "ok").observe(seconds)

    def count_swap(self, outcome: Literal["swapped", "refused"]) -> None:
        """Count a change of the model, or one that was refused."""
        self._count(self._swaps, outcome)

    def _count(self, counter: Counter, *labels: str, number: int = 1) -> None:
        counted = self._counted.get((counter, labels))
        if counted is None:
            counted = self._counted[counter, labels] = counter.labels(*labels)
        counted.inc(number)

    def render(self) -> bytes:
        """All metrics in the text format, of all worker processes together."""
        if self._shared is None:
            return generate_latest(self.registry)
        merged = CollectorRegistry()
        MultiProcessCollector(merged, path=str(self._shared))  # type: ignore[no-untyped-call]
        return generate_latest(merged)
