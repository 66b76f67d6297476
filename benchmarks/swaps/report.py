"""A benchmark of swaps, for people."""

from benchmarks.report import Part, Table, machine
from benchmarks.swaps.document import Document

__all__ = ["report"]

MB = 1e6


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    swaps = Table(
        f"{document.model_version} and {document.other_version} in turn: {document.swaps} swaps, "
        f"{document.connections} connections, {document.users:,} users, workers: {document.workers}",
        (
            "cache",
            "requests",
            "failed",
            "mixed",
            "stale",
            "first answer, s",
            "longest, s",
            "RSS before, MB",
            "after, MB",
        ),
        [
            (
                run.cache,
                f"{run.requests:,}",
                str(run.failed),
                str(run.mixed),
                str(run.stale),
                f"{run.first_answer_p50_seconds:.2f}",
                f"{run.first_answer_longest_seconds:.2f}",
                f"{run.rss_before / MB:.1f}",
                f"{run.rss_after / MB:.1f}",
            )
            for run in document.runs
        ],
    )
    latency = Table(
        "Latency of requests",
        ("cache, when", "requests", "p50, ms", "p99, ms", "p99.9, ms", "longest, ms"),
        [
            (
                f"{run.cache}, {when}",
                f"{part.requests:,}",
                *(f"{value:.2f}" for value in (part.p50_ms, part.p99_ms, part.p999_ms, part.longest_ms)),
            )
            for run in document.runs
            for when, part in (("during swaps", run.during), ("between", run.between))
        ],
    )
    ratios = "; ".join(
        f"cache {run.cache}: p99 during swaps {run.p99_ratio:.2f} of that between them, memory {run.rss_change:+.1%}, "
        f"{run.client_microseconds:.0f} µs of the client's CPU for a request"
        for run in document.runs
    )
    return [swaps, latency, f"{ratios[0].upper()}{ratios[1:]}.", machine(document.environment)]
