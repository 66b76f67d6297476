"""What was measured of a model while its training data was at hand: `analysis.json`, for people, not for serving.

Numbers that could not be measured (too few points, nothing that varies) are null.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from model.config import Frozen
from model.errors import ArtifactError

__all__ = [
    "ANALYSIS",
    "Analysis",
    "Curve",
    "Gain",
    "NoiseRow",
    "StepsRow",
    "Strata",
    "Stratum",
    "Topology",
    "read_analysis",
]

ANALYSIS = "analysis.json"


class Curve(Frozen):
    """How one training run went; entry 0 of the lists is the state before the first epoch."""

    run: str = Field(description="name of the run")
    losses: list[float | None] = Field(description="mean training loss of each epoch")
    scores: list[float | None] = Field(description="NDCG@20 on what was held out, after each epoch")
    best_epoch: int = Field(ge=0, description="the epoch whose weights were kept")


class Gain(Frozen):
    """A mean difference between two paired measurements, with half the width of its 95 % interval."""

    mean: float
    margin: float | None


class StepsRow(Frozen):
    """Accuracy with so many reverse steps."""

    steps: int = Field(ge=0)
    recall: float = Field(description="recall@20")
    ndcg: float = Field(description="NDCG@20")
    recall_gain: Gain = Field(description="recall@20 less that of 0 steps, over the same users")
    ndcg_gain: Gain = Field(description="NDCG@20 less that of 0 steps, over the same users")


class Stratum(Frozen):
    """Users alike in some quantity."""

    low: float = Field(description="least value of the quantity")
    high: float = Field(description="greatest value")
    users: int = Field(ge=1)
    ndcg: dict[str, float] = Field(description="mean NDCG@20 by model")
    gains: dict[str, Gain] = Field(description="NDCG@20 of the model published less that of each other")


class Strata(Frozen):
    """The users that are reported on, in groups of like size.

    `history`: by the length of the history. `popularity`: by the popularity of what the user takes up next, the
    geometric mean of the items' interactions in training.
    """

    by: Literal["history", "popularity"]
    groups: list[Stratum]


class NoiseRow(Frozen):
    """What noise at one time leaves of the neighbourhoods: shares, 0 to 1."""

    kind: Literal["directional", "isotropic"]
    t: int = Field(ge=0)
    items: float = Field(description="of an item's k nearest items, those that were so without noise")
    graph: float | None = Field(description="of an item's k nearest items, those that are its graph neighbours")
    users: float = Field(description="of the k items nearest to a user, those that were so without noise")


class Topology(Frozen):
    """How much of the graph's shape a set of points shows; see training.topology."""

    points: str = Field(description="what the points are")
    spearman: float | None = Field(description="rank correlation of radius and degree")
    overlap: float | None = Field(description="mean share of the k nearest that are graph neighbours")
    chance: float = Field(description="that share for neighbours drawn at random")


class Analysis(Frozen):
    """All of it."""

    k: int = Field(ge=1, description="length of lists and size of neighbourhoods")
    judged: int = Field(ge=0, description="users drawn to measure accuracy by reverse steps")
    users: int = Field(ge=0, description="users drawn for the neighbourhoods")
    items: int = Field(ge=0, description="items drawn for the neighbourhoods")
    curves: list[Curve]
    steps: list[StepsRow]
    compared: list[str] = Field(description="the models of the strata, the one published first")
    strata: list[Strata]
    noise: list[NoiseRow]
    topology: list[Topology]


def read_analysis(directory: Path) -> Analysis | None:
    """The analysis of the artifact in a directory; None where it was published without one.

    Raises:
        ArtifactError: it is there and cannot be read.
    """
    path = directory / ANALYSIS
    try:
        return Analysis.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ArtifactError(
            f"{path}: not a readable analysis ({type(error).__name__})", hint="train again with this version of hdrm"
        ) from error
