"""The benchmark's result as a document."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Batch", "Document", "Loop"]


class Batch(Frozen):
    """Microseconds a user when so many are answered together; medians, so phases do not quite add up to `total`."""

    users: int
    gather: float = Field(description="from histories to conditions")
    denoise: float = Field(description="from conditions to users' vectors")
    search: float = Field(description="from vectors to candidates")
    rerank: float = Field(description="from candidates to the answer, in float64")
    total: float = Field(description="all of it, as the service calls it")


class Loop(Frozen):
    """The same answers, one user after the other in float64; microseconds a user, and how much longer that takes than
    the largest batch."""

    by_user: float = Field(description="distances from one user to all items by one NumPy expression")
    by_user_ratio: float
    by_pair: float = Field(description="distances from one user to one item after the other, in NumPy as well")
    by_pair_ratio: float


class Document(Measured):
    """A benchmark of inference."""

    version: str = Field(description="the model")
    items: int
    dim: int
    steps: int = Field(description="reverse steps")
    mean_history: float = Field(description="items in the histories of the users measured with")
    load_seconds: float = Field(description="loading the model, its checksums and probe verified")
    k: int = Field(description="items asked for")
    threads: int
    batches: list[Batch]
    loop: Loop
