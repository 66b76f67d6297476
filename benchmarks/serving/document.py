"""The benchmark's result as a document: what is written as JSON and read by everything that shows it."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Document", "Growth", "Run", "Sample", "Size", "Soak"]

SETTLED_SECONDS = 60.0


class Run(Frozen):
    """One path at one number of connections: medians over the rounds."""

    path: str = Field(description="noop, uncached, inprocess, redis or popular")
    connections: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    errors: int = Field(description="answers other than 2xx, and failures of sockets, in all rounds")
    rss_bytes: int = Field(description="resident memory of the server's processes after the last round")
    cpu_percent: float = Field(description="of the server's processes; 100 is one core")


class Sample(Frozen):
    """A part of the soak."""

    seconds: float = Field(description="since the start of the soak, at the end of the part")
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    rss_bytes: int


class Soak(Frozen):
    """A long run at half of the peak."""

    minutes: float
    peak: float = Field(description="requests per second of the uncached path at most")
    target: float = Field(description="requests per second that were meant to be asked")
    samples: list[Sample]

    @property
    def drift(self) -> float | None:
        """By how much of its smallest value memory changes after the first minute; None if it is shorter."""
        memory = [sample.rss_bytes for sample in self.samples if sample.seconds >= SETTLED_SECONDS]
        return max(memory) / min(memory) - 1 if memory else None


class Document(Measured):
    """A benchmark of serving."""

    model_version: str
    items: int
    users: int
    seconds: float = Field(description="length of one run")
    rounds: int = Field(description="runs of each path and number of connections, interleaved with the no-op")
    runs: list[Run]
    ratios: dict[str, float] = Field(
        description="PATH_16: throughput over that of the no-op beside it, with 16 connections; lone_p50: uncached "
        "p50 over the no-op's with 1; p99_16: uncached p99 over the no-op's with 16. Medians of the rounds' ratios"
    )
    soak: Soak | None


class Size(Frozen):
    """A service with a generated model of some size: medians over the rounds."""

    users: int
    items: int
    ready_seconds: float = Field(description="from the start of the process to readiness, checksums and probe verified")
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    rss_bytes: int = Field(description="resident memory of one worker, mapped files included")
    private_bytes: int = Field(description="memory that a further worker does not share; the most of any")


class Growth(Measured):
    """What a larger model costs the service."""

    connections: int
    seconds: float = Field(description="length of one run")
    rounds: int
    workers: int = Field(description="of the service whose private memory is told")
    sizes: list[Size] = Field(description="by rising number of items")
    p99_ratio: float = Field(description="p99 with the largest over p99 with the smallest, median of the turns")
