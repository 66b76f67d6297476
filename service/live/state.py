"""All that follows from the log, for one model."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from model.history import Histories
from service.events.event import Effect, Event
from service.events.record import Deletion, ItemChange, Record
from service.live.histories import NOTHING, LiveHistories
from service.live.items import LiveItems
from service.live.placement import Placement, Taken
from service.live.recent import Recent
from service.registry import Loaded

__all__ = ["LiveState"]

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


class LiveState:
    """Histories, items and what is popular, as they are now.

    Args:
        loaded: the model.
        effects: of the types of events; those of other types change nothing.
    """

    def __init__(self, loaded: Loaded, effects: Mapping[str, Effect]) -> None:
        catalogue, recommender = loaded.artifact.catalogue, loaded.artifact.recommender

        def users(histories: Sequence[Int32]) -> Float32:
            return recommender.user_vectors(Histories.of(histories), loaded.steps)

        self.items = LiveItems(catalogue)
        respected = loaded.artifact.manifest.data.deletions
        self.histories = LiveHistories(catalogue, effects, self.items.index, respected)
        self.placement = Placement(loaded.artifact.model.vectors, catalogue.counts, users)
        self.recent = Recent()
        self._newest = loaded.artifact.manifest.model.history.max_length  # all that an answer looks at

    @property
    def revision(self) -> bytes:
        """Of everything but histories: equal revisions give equal answers to equal histories."""
        return self.items.revision + self.placement.revision

    def apply(self, records: Sequence[Record]) -> None:
        """Take records of the log that were not applied before."""
        taken, dropped = list[Taken](), set[str]()
        for record in records:
            match record:
                case Event():
                    self._event(record, taken, dropped)
                case ItemChange():
                    self.items.apply(record)
                case Deletion():
                    self.histories.delete(record)
                    self.recent.forget(record.user_id)
                    taken.append(Taken(None, record.user_id, None))
                    dropped.add(record.user_id)
        self.placement.apply(taken)

    def _event(self, event: Event, taken: list[Taken], dropped: set[str]) -> None:
        """Take an event; `dropped` are those who may have ceased to be takers since the placement was told."""
        item = self.items.index(event.item_id)
        is_new = item is not None and item >= self.items.size
        before = NOTHING
        # of the model's own items, which are nearly all, nobody needs to know it
        if item is not None and is_new and (dropped or self.placement.takes(item, event.user_id)):
            before = self.histories.newest(event.user_id, self._newest)
        happened = self.histories.apply(event)
        if happened is None:
            return
        item, effect = happened
        if effect == "add":
            self.recent.add(item, event.user_id, event.timestamp)
            if len(before):
                taken.append(Taken(item, event.user_id, before))
        elif is_new:
            taken.append(Taken(item, event.user_id, None))
            dropped.add(event.user_id)
