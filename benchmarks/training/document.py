"""The benchmark's result as a document: what is written as JSON and read by everything that shows it."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Document", "Growth", "Level", "Model", "Pace", "Point", "Size"]


class Size(Frozen):
    """Training on so many synthetic interactions."""

    interactions: int
    users: int
    items: int
    prepare_seconds: float = Field(description="making the stages, the graph included")
    encoder_seconds: float = Field(description="the fastest epoch of stage 1")
    attention_seconds: float = Field(description="the fastest epoch of stage 2")
    diffusion_seconds: float = Field(description="the fastest epoch of stage 3")
    cpu_seconds: float = Field(description="CPU time of the cheapest epoch of all stages, all threads together")
    encoder_steps: int = Field(description="optimiser steps in an epoch of stage 1")
    diffusion_steps: int = Field(description="optimiser steps in an epoch of stage 3")
    memory_bytes: int = Field(description="peak resident memory beyond that of the process before it had data")
    process_bytes: int = Field(description="peak resident memory of the whole process")


class Growth(Frozen):
    """Seconds and memory against interactions."""

    preset: str
    changes: list[str] = Field(description="settings that differ from the preset's")
    seed: int
    epochs: int = Field(description="epochs of each stage, the fastest of which counts")
    sizes: list[Size] = Field(description="by rising number of interactions")
    failures: dict[str, str] = Field(description="interactions to what happened, where there was no end")
    exponents: dict[str, float] = Field(description="log-log slope of a column over all sizes; empty with one size")
    last_exponents: dict[str, float] = Field(description="the same, between the two largest sizes")


class Point(Frozen):
    """Where the training is after an epoch."""

    seconds: float = Field(description="of training since its start, measuring not included")
    stage: str
    epoch: int
    score: float = Field(description="what the stage is stopped by: the mean of recall@20 and NDCG@20 on `stop`")
    recall: float | None = Field(
        description="recall@20 on `stop`; None before the diffusion, without which there is no model to serve"
    )


class Model(Frozen):
    """One model, fitted on `search` and measured on `stop`."""

    model: str = Field(description="the model and its settings, for people")
    fit_seconds: float = Field(description="one fit with these settings")
    tuning_seconds: float | None = Field(description="looking for the settings; None where they are fixed")
    recall: float = Field(description="recall@20")
    ndcg: float = Field(description="NDCG@20")
    matched_after: float | None = Field(description="seconds of training until HDRM recalls as much; None if never")


class Level(Frozen):
    """A recall@20 and when HDRM had it."""

    recall: float
    seconds: float | None = Field(description="None if never")


class Pace(Frozen):
    """Accuracy against seconds."""

    data: str = Field(description="name of the data")
    fingerprint: str = Field(description="digest of the data")
    users: int
    items: int
    interactions: int = Field(description="learned from")
    measured: int = Field(description="users whose next items are in `stop`")
    ordered: bool
    points: list[Point] = Field(description="HDRM's training, in time order")
    models: list[Model]
    levels: list[Level]


class Document(Measured):
    """A benchmark of training."""

    growth: Growth | None
    pace: Pace | None
