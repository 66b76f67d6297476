"""Requests with their ids looked up."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from service.cursor import DEEPEST
from service.responses import Strategy, Warned

__all__ = ["NOTHING", "PLAIN", "Query", "Shape"]

Int32 = npt.NDArray[np.int32]

NOTHING: Int32 = np.zeros(0, np.int32)
POOL_FACTOR, LEAST_POOL = 10, 100  # of what novelty and diversity choose from


@dataclass(frozen=True, slots=True)
class Shape:
    """What a request wishes beyond the nearest items.

    Attributes:
        allowed: items that may be answered, ascending, new ones included; None for all.
        named: whether they were named one by one: then even those without a place are answered, last.
        ranked: whether all of them are answered at once.
        novelty, diversity, explain: as in the request.
        fields: what is answered of an item; None for everything.
        offset: items of the list that were answered before.
    """

    allowed: Int32 | None = None
    named: bool = False
    ranked: bool = False
    novelty: float = 0.0
    diversity: float = 0.0
    explain: bool = False
    fields: frozenset[str] | None = None
    offset: int = 0

    @property
    def reorders(self) -> bool:
        """Whether the order is another than that of the distance."""
        return self.novelty != 0 or self.diversity != 0


PLAIN = Shape()


@dataclass(frozen=True, slots=True)
class Query:
    """A request with its ids looked up. Items are told by their indices.

    Attributes:
        known: whether the user, or every member of the group, is known; None where nobody is named.
        histories: of those that have one: items that the model has, newest last.
        excluded: items of the model that must not be answered.
        k: how many items.
        key: where the answer is cached; None where there is no history to infer from.
        shape: further wishes.
        disliked: items to keep away from.
        new: new items in the histories.
        excluded_new: new items that must not be answered.
        warnings: about the request.
        options: digest of all wishes, for the cursor.
    """

    known: bool | None
    histories: tuple[Int32, ...]
    excluded: Int32
    k: int
    key: str | None
    shape: Shape = PLAIN
    disliked: Int32 = field(default_factory=lambda: NOTHING)
    new: Int32 = field(default_factory=lambda: NOTHING)
    excluded_new: Int32 = field(default_factory=lambda: NOTHING)
    warnings: tuple[Warned, ...] = ()
    options: str = ""

    @property
    def strategy(self) -> Strategy:
        """A model of histories has nothing to say about an empty one."""
        return "popular" if self.key is None else "hdrm"

    @property
    def deepest(self) -> int:
        """The longest list there is of it."""
        return min(max(POOL_FACTOR * self.k, LEAST_POOL), DEEPEST) if self.shape.reorders else max(DEEPEST, self.k)

    @property
    def reach(self) -> int:
        """How many of the nearest items have to be found."""
        return self.deepest if self.shape.reorders else min(self.shape.offset + self.k, self.deepest)

    @property
    def is_plain(self) -> bool:
        """Whether it takes no longer than others."""
        return self.shape is PLAIN and len(self.histories) <= 1
