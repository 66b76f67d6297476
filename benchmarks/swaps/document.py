"""The benchmark's result as a document."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Document", "Latency", "Run"]


class Latency(Frozen):
    """Of requests, in milliseconds."""

    requests: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    longest_ms: float


class Run(Frozen):
    """A server whose current model is changed again and again while it answers without pause."""

    cache: str = Field(description="none, or process: answers are kept there")
    seconds: float
    requests: int
    requests_per_second: float
    failed: int = Field(description="answers other than 200, and failures of sockets")
    mixed: int = Field(description="answers with other items than those that the version they name has for the user")
    stale: int = Field(description="answers by the old model that were begun after the new one had answered")
    first_answer_p50_seconds: float = Field(
        description="from activation in the store to the first answer by the new model"
    )
    first_answer_longest_seconds: float
    during: Latency = Field(description="of requests under way from an activation until shortly after all had swapped")
    between: Latency = Field(description="of all others")
    p99_ratio: float = Field(description="p99 during swaps over p99 between them")
    rss_before: int = Field(description="resident bytes of the server after a warm-up with both models")
    rss_after: int = Field(description="the same after the last swap")
    rss_most: int = Field(description="most of what was seen after a swap")
    client_microseconds: float = Field(description="CPU time of the client for a request, its check included")

    @property
    def rss_change(self) -> float:
        """Growth of resident memory, as a share."""
        return self.rss_after / self.rss_before - 1


class Document(Measured):
    """A benchmark of swaps."""

    model_version: str
    other_version: str
    items: int
    users: int = Field(description="asked in turn; each gets other items from the other model")
    connections: int
    workers: int
    swaps: int
    pause: float = Field(description="mean seconds between the end of a swap and the next")
    runs: list[Run]
