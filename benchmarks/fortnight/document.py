"""The benchmark's result as a document: what is written as JSON and read by everything that shows it."""

from typing import Literal

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen
from model.report import Outcome

__all__ = ["METRICS", "POLICIES", "Day", "Difference", "Document", "Night", "Policy"]

Policy = Literal["frozen", "live", "retrained"]

POLICIES: tuple[Policy, ...] = ("frozen", "live", "retrained")
METRICS = ("recall@20", "ndcg@20")


class Night(Frozen):
    """The training before a day; that before the first is of the model that all policies begin with."""

    events: int = Field(description="interactions of the day before")
    new_users: int = Field(description="of them, users who came for the first time")
    new_items: int = Field(description="of them, items that were taken for the first time")
    outcome: Outcome = Field(description="of the retraining")
    failed: list[str] = Field(description="what did not hold, a sentence each")
    seconds: float = Field(
        description="wall-clock seconds of the retraining, checks and comparison included; once interrupted, of its "
        "last part"
    )
    searched: bool | None = Field(
        description="whether it searched for how long to train; None where nothing was trained"
    )
    version: str = Field(description="the model that serves the retrained policy on the day")


class Day(Frozen):
    """The policies on one day's interactions."""

    name: str = Field(description="the date, or the number from 1 where days are dealt")
    users: int = Field(description="who took something, and so were asked for")
    without_history: int = Field(
        description="of them, those who had taken nothing before: the answer is what is popular"
    )
    night: Night
    figures: dict[Policy, dict[str, float]] = Field(description="policy to metric to the mean over the day's users")


class Difference(Frozen):
    """Two policies over all days but the first, each user's mean over their days counting once."""

    better: Policy = Field(description="which is expected to be ahead")
    other: Policy
    metric: str
    difference: float = Field(description="of the means")
    low: float = Field(description="95 % bootstrap interval over users")
    high: float


class Document(Measured):
    """A simulated fortnight."""

    data: str = Field(description="name of the data")
    fingerprint: str = Field(description="digest of the data")
    interactions: int = Field(description="before the first day")
    users: int = Field(description="all who ever took part")
    items: int = Field(description="all that were ever taken")
    dealt: bool = Field(description="whether days were made up, for want of dates")
    preset: str
    changes: list[str] = Field(description="settings that differ from the preset's")
    limits: list[str] = Field(description="limits of the retraining that differ from the defaults")
    seed: int
    held_out: float = Field(description="newest share of the data that a retraining only compares models by")
    days: list[Day]
    compared: int = Field(description="users with something on a day after the first")
    means: dict[Policy, dict[str, float]] = Field(
        description="policy to metric to the mean over all days but the first, each user counting once"
    )
    differences: list[Difference]
