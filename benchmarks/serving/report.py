"""A benchmark of serving, for people."""

from benchmarks.report import Part, Table, machine
from benchmarks.serving.document import Document, Growth, Soak

__all__ = ["report", "report_growth"]

MB = 1e6


def report(document: Document) -> list[Part]:
    """Tables and sentences."""
    runs = Table(
        f"{document.model_version}: {document.items:,} items, {document.users:,} users",
        ("path", "connections", "requests/s", "p50, ms", "p95, ms", "p99, ms", "errors", "RSS, MB", "CPU, %"),
        [
            (
                run.path,
                str(run.connections),
                f"{run.requests_per_second:,.0f}",
                *(f"{value:.3f}" for value in (run.p50_ms, run.p95_ms, run.p99_ms)),
                str(run.errors),
                f"{run.rss_bytes / MB:.0f}",
                f"{run.cpu_percent:.0f}",
            )
            for run in document.runs
        ],
    )
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in document.ratios.items())
    soak = [] if document.soak is None else _soak(document.soak)
    return [runs, f"Ratios to the no-op: {ratios}.", *soak, machine(document.environment)]


def report_growth(document: Growth) -> list[Part]:
    """Tables and sentences."""
    sizes = Table(
        f"Generated models, uncached, {document.connections} connections",
        ("users", "items", "ready, s", "requests/s", "p50, ms", "p99, ms", "errors", "RSS, MB", "private, MB a worker"),
        [
            (
                f"{size.users:,}",
                f"{size.items:,}",
                f"{size.ready_seconds:.1f}",
                f"{size.requests_per_second:,.0f}",
                f"{size.p50_ms:.3f}",
                f"{size.p99_ms:.3f}",
                str(size.errors),
                f"{size.rss_bytes / MB:.0f}",
                f"{size.private_bytes / MB:.0f}",
            )
            for size in document.sizes
        ],
    )
    return [
        sizes,
        f"p99 of the largest over that of the smallest, medians of {document.rounds} turns: {document.p99_ratio:.2f}.",
        machine(document.environment),
    ]


def _soak(soak: Soak) -> list[Part]:
    table = Table(
        f"{soak.minutes:g} minutes at {soak.target:,.0f} requests/s, half of the peak",
        ("after, s", "requests/s", "p50, ms", "p99, ms", "errors", "RSS, MB"),
        [
            (
                f"{sample.seconds:.0f}",
                f"{sample.requests_per_second:,.0f}",
                f"{sample.p50_ms:.3f}",
                f"{sample.p99_ms:.3f}",
                str(sample.errors),
                f"{sample.rss_bytes / MB:.1f}",
            )
            for sample in soak.samples
        ],
    )
    flat = "" if soak.drift is None else f" Memory after the first minute changes by {soak.drift:.2%} at most."
    return [table, f"Errors: {sum(sample.errors for sample in soak.samples)}.{flat}"]
