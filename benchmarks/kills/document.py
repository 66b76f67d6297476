"""The benchmark's result as a document."""

from pydantic import Field

from benchmarks.environment import Measured
from model.config import Frozen

__all__ = ["Document", "Phases"]


class Phases(Frozen):
    """How far a run had come when it was killed, by what lay in the store then."""

    starting: int = Field(0, description="it did not hold the lease yet")
    training: int = Field(0, description="it held the lease and was reading, training or comparing")
    writing: int = Field(0, description="files of a model lay where they are written")
    judging: int = Field(0, description="the model was in the store, whole, and not current")
    ending: int = Field(0, description="the model was current")


class Document(Measured):
    """A benchmark of kills."""

    data: str
    interactions: int = Field(description="the first model was trained on")
    run_seconds: float = Field(description="length of a run that nobody killed")
    kills: int
    aimed: int = Field(description="of these, those in the writing of the model or soon after; the others at any time")
    too_late: int = Field(description="runs that had ended when they were to be killed, which do not count")
    phases: Phases
    checkpoints: int = Field(description="kills after which there was something for the next run to go on with")
    verified: int = Field(description="versions that `hdrm models verify --all` looked at, after all kills together")
    published: int = Field(description="of the runs after a kill, those that made a model current")
    unchanged: int = Field(description="those that found nothing to do, because the killed one had done it")
    lease_seconds: float = Field(description="longest time from the start of such a run to its lease")
    next_seconds: float = Field(description="longest of such a run")
    answers: int = Field(description="of a server that followed the store all the time")
    failed: int = Field(description="requests to it that failed")
    versions: int = Field(description="versions in the store at the end, all whole")
    leftovers: int = Field(description="what killed runs left where models are written, to be removed after a day")
    leftover_bytes: int
    broken: list[str] = Field(description="all that was not as it has to be, one sentence each")
