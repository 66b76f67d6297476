"""Items as they are now: what the model brought, what was said about them since, and items that are new."""

import hashlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.artifact import Catalogue
from model.facets import NO_YEAR
from model.fragments import ItemFacts, fragment
from service.events.record import ItemChange, pack

__all__ = ["ChangedFacets", "LiveItems"]

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

DIGEST_BYTES = 16


class ChangedFacets(NamedTuple):
    """Of items that were changed or are new.

    Attributes:
        items: their indices, (n,).
        years: their release years, (n,), `NO_YEAR` where not known.
    """

    items: Int32
    years: Int32


class LiveItems:
    """Of all items, for one model. New ones have the indices after those of the model, in the order of the log.

    Args:
        catalogue: of the model.

    Attributes:
        catalogue: the same.
        size: items of the model.
        fragments: JSON of each item that was changed or is new, as in the model's own fragments.
        changed: facts of the items that were changed or are new.
        hidden: items that are not to be shown, ascending.
        revision: a digest of all changes; equal revisions mean equal items.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.size = len(catalogue.items)
        self.fragments: dict[int, bytes] = {}
        self.revision = b""
        self._new: dict[str, int] = {}
        self._ids: list[str] = []
        self.changed: dict[int, ItemFacts] = {}
        self._members: dict[str, set[int]] = {}  # of each category, of those that were changed
        self._facets: tuple[bytes, ChangedFacets] | None = None
        self.hidden: Int32 = np.zeros(0, np.int32)

    def __len__(self) -> int:
        return self.size + len(self._new)

    def index(self, item_id: str) -> int | None:
        """Of an item, None if there is none of this id."""
        index = self.catalogue.items.index(item_id)
        return self._new.get(item_id) if index is None else index

    def id(self, index: int) -> str:
        """Of the item at an index."""
        return self.catalogue.items.id(index) if index < self.size else self._ids[index - self.size]

    def facts(self, index: int) -> ItemFacts:
        """What is known of an item."""
        changed = self.changed.get(index)
        return self.catalogue.fragments.facts(index) if changed is None else changed

    def is_hidden(self, index: int) -> bool:
        """Whether an item is not to be shown."""
        place = int(np.searchsorted(self.hidden, index))
        return place < len(self.hidden) and int(self.hidden[place]) == index

    def counts(self, items: Int32) -> Int64:
        """Interactions that the model was trained on, of each of these items; none of new ones."""
        counts, own = np.zeros(len(items), np.int64), items < self.size
        counts[own] = self.catalogue.counts[items[own]]
        return counts

    def changed_of_category(self, name: str) -> Int32:
        """Of the items that were changed or are new, those of a category."""
        return np.array(list(self._members.get(name, ())), np.int32)

    def changed_facets(self) -> ChangedFacets:
        """Of the items that were changed or are new, what numbers they can be filtered by."""
        revision, known = self.revision, self._facets
        if known is None or known[0] != revision:
            changed = list(self.changed.items())
            years = [NO_YEAR if facts.year is None else facts.year for _, facts in changed]
            indices = np.array([index for index, _ in changed], np.int32)
            known = self._facets = revision, ChangedFacets(indices, np.array(years, np.int32))
        return known[1]

    def apply(self, change: ItemChange) -> None:
        """Take a change of the log that was not applied before; an item that there is not is made, if it may be."""
        index = self.index(change.item_id)
        if index is None:
            if not change.creates:
                return
            index = self._new[change.item_id] = len(self)
            self._ids.append(change.item_id)
            self.changed[index] = ItemFacts(None, None, [])
        facts = dict(change.facts)
        hidden = facts.pop("hidden", self.is_hidden(index))
        if hidden != self.is_hidden(index):
            place = int(np.searchsorted(self.hidden, index))
            self.hidden = np.insert(self.hidden, place, index) if hidden else np.delete(self.hidden, place)
        for name in self.changed[index].categories if index in self.changed else ():
            self._members[name].discard(index)
        self.changed[index] = replace(self.facts(index), **facts)
        for name in self.changed[index].categories:
            self._members.setdefault(name, set()).add(index)
        self.fragments[index] = fragment(change.item_id, self.changed[index])
        self.revision = hashlib.blake2b(self.revision + pack(change), digest_size=DIGEST_BYTES).digest()
