"""The benchmark's result as a document."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Document", "Effects", "Kills", "Placements", "Replay", "Stream"]


class Replay(Frozen):
    """A model that knows the training part is told the next part of every history as events, then asked over HTTP.

    And it is asked without a user, with the histories in the requests, as far as requests may be long.
    """

    history: str = Field(description="the part that was told")
    truth: str = Field(description="the part that is asked for")
    events: int
    users: int = Field(description="asked")
    offline: dict[str, float] = Field(description="metrics of the same model given the longer histories in the process")
    served: dict[str, float] = Field(description="of the answers over HTTP, to the users")
    anonymous: dict[str, float] = Field(description="of those to nobody in particular with the same histories")


class Effects(Frozen):
    """Events one after the other, each followed by a request over a new connection, which any worker may take."""

    log: str = Field(description="sqlite or redis")
    workers: int
    events: int
    effective: int = Field(description="those that the next answer knew of")


class Stream(Frozen):
    """Batches without pause, while others ask for recommendations."""

    log: str
    batch: int
    seconds: float
    events_per_second: float
    p50_ms: float = Field(description="time to acknowledge a batch")
    p99_ms: float
    recommendations_per_second: float
    recommendation_errors: int
    acknowledged: int
    lost: int = Field(description="of these, those that were not there afterwards")


class Kills(Frozen):
    """A server that is killed while it takes events, again and again."""

    log: str
    kills: int
    acknowledged: int
    lost: int = Field(description="of these, those that were not there afterwards")
    twice: int = Field(description="events that were kept more than once")


class Placements(Frozen):
    """Items that the model knows, placed as if they were new by some of those who took them."""

    takers: int = Field(description="who place an item; 0 for the place that training gave it")
    way: str = Field(description="how")
    items: int = Field(description="that were placed")
    later: float = Field(description="share of others who took an item next that have it among their first 20")
    everybody: float = Field(description="share of all users that have it there")


class Document(Measured):
    """A benchmark of events."""

    model_version: str
    replay: Replay | None
    effects: list[Effects]
    streams: list[Stream]
    kills: list[Kills]
    placements: list[Placements]
