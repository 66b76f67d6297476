"""The benchmark's result as a document: what is written as JSON and read by everything that shows it."""

from pydantic import Field

from benchmarks.environment import Environment
from model.config import Frozen

__all__ = ["Comparison", "Data", "Document", "Result", "Topology"]


class Data(Frozen):
    """What was measured on."""

    name: str = Field(description="name of the data")
    fingerprint: str = Field(description="digest of the data")
    users: int = Field(description="users")
    items: int = Field(description="items in the catalogue")
    interactions: int = Field(description="interactions learned from")
    ordered: bool = Field(description="whether histories have a time order")
    protocol: str = Field(description="what is learned from, masked and true")
    dropped: str | None = Field(description="pairs that were left out when the data was read, None if none were")


class Result(Frozen):
    """One model asked in one mode."""

    model: str = Field(description="preset or baseline, an ablation as `preset: what differs`")
    preset: str | None = Field(description="the preset, None for a baseline")
    ablation: str | None = Field(description="what differs from the preset, None for the preset as it is")
    described: str = Field(description="the model and its settings, for people")
    given_up: list[str] = Field(
        [], description="stages that the search did without, since none of their epochs was better than what was there"
    )
    seed: int = Field(description="seed of all randomness")
    mode: str = Field(description="paper: asked with the training histories; live: with others added")
    metrics: dict[str, float] = Field(description="metric, such as recall@20, to mean over users")
    fit_seconds: float = Field(
        description="seconds of training; the search for how long, or for settings, included where each fit makes one"
    )
    fit_cpu_seconds: float = Field(description="CPU seconds of all its threads meanwhile")
    evaluation_seconds: float = Field(description="seconds of asking, all modes together")
    peak_rss_bytes: int = Field(description="greatest resident memory of the run's process")


class Comparison(Frozen):
    """A difference over users, paired, seeds averaged, with its bootstrap interval."""

    mode: str
    metric: str
    model: str = Field(description="the one")
    other: str = Field(description="and the other")
    difference: float = Field(description="mean of the one less the other")
    low: float = Field(description="lower end of the 95 % interval")
    high: float = Field(description="upper end")
    excludes_zero: bool = Field(description="whether the interval does")


class Topology(Frozen):
    """What a fit keeps of the graph, and its other figures."""

    model: str
    seed: int
    figures: dict[str, float | None] = Field(description="None where the data are too few to say")


class Document(Frozen):
    """A benchmark."""

    data: Data
    environment: Environment
    results: list[Result]
    comparisons: list[Comparison]
    topology: list[Topology]
    left_out: dict[str, str] = Field(description="models that do not suit the data, and why")
