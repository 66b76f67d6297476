"""All that runs while a model is served."""

from dataclasses import dataclass

from service.answers import Answers
from service.events.recorder import Recorder
from service.keeper import Keeper

__all__ = ["Serving"]


@dataclass(frozen=True)
class Serving:
    """See module.

    Attributes:
        answers: answers requests.
        recorder: keeps events.
        keeper: keeps what is said about items and users.
    """

    answers: Answers
    recorder: Recorder
    keeper: Keeper
