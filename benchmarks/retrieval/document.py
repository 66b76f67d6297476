"""The benchmark's result as a document."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Document", "Index"]


class Index(Frozen):
    """One way to find items, on one catalogue."""

    name: str = Field(description="float64 scan, lorentz scan, flat L2, or inverted lists")
    radii: tuple[float, float] = Field(description="bounds of the radii of items and queries")
    recall: float = Field(alias="recall@20", description="mean share of the 20 nearest that is found")
    queries_per_second: float = Field(description="asked in batches")
    alone_microseconds: float = Field(description="one query asked alone")
    bytes_per_item: float = Field(description="vectors and index, all together")
    build_seconds: float = Field(description="making it of the vectors, on all threads; calibration not included")
    settings: dict[str, int] = Field(description="what it was calibrated to")


class Document(Measured):
    """A benchmark of retrieval."""

    items: int
    dim: int
    queries: int = Field(description="measured with; all of them exclude some items")
    excluded: int = Field(description="items excluded from each answer")
    batch: int = Field(description="queries asked together")
    threads: int = Field(description="that searches compute with")
    seed: int
    indexes: list[Index]
