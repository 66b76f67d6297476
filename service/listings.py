"""Lists that are nobody's: what is near to an item or to a user, and what most have taken."""

import time
from functools import cached_property

import numpy as np
import numpy.typing as npt

from model.history import Histories
from model.retrieval import FlatIndex
from service.engine import Engine
from service.errors import Problem
from service.filters import allowed_items, known_categories
from service.requests import Filter
from service.responses import FieldProblem

__all__ = ["Listings", "item_unknown"]

Int32 = npt.NDArray[np.int32]


class Listings:
    """Makes such lists, for one model.

    Args:
        engine: that of the model.
    """

    def __init__(self, engine: Engine) -> None:
        self._loaded, self._live = engine.loaded, engine.live
        self._lookup, self._places, self._cores = engine.lookup, engine.places, engine.cores
        self._catalogue = engine.loaded.artifact.catalogue

    def similar_items(self, item_id: str, k: int, category: str | None) -> bytes:
        """JSON members of an answer: the items nearest to an item.

        Raises:
            Problem: 404, there is no such item; 409, it is new and has no place yet.
        """
        item = self._live.items.index(item_id)
        if item is None:
            raise item_unknown()
        placed = self._places.new
        vector = self._places.of(np.array([item], np.int32), placed)[1]
        if not len(vector):
            raise Problem(409, "item_unplaced", "The item is new, and too few have taken it to say what it is like.")
        gone = np.append(self._live.items.hidden, np.int32(item))
        excluded = Histories.of([gone[gone < self._places.size]])
        [hits] = self._places.nearest(vector, [k], excluded, [gone], placed, [self._allowed(category)])
        return self._members(self._cores.nearest(hits.items, hits.distances, 1), k, category)

    def popular(self, k: int, category: str | None, window_seconds: float | None) -> bytes:
        """JSON members of an answer: the items that most have taken, of all that the model was trained on or lately."""
        items, n = self._live.items, len(self._live.items)
        if window_seconds is None:
            counts = np.zeros(n, np.int64)
            counts[: items.size] = self._catalogue.counts
            shown = np.ones(n, np.bool_)
            shown[items.size :] = False
        else:
            counts = self._live.recent.counts(time.time() - window_seconds, n)
            shown = counts > 0
        total = max(int(counts.sum()), 1)
        shown[items.hidden] = False
        allowed = self._allowed(category)
        if allowed is not None:
            within = np.zeros(n, np.bool_)
            within[allowed] = True
            shown &= within
        chosen = np.flatnonzero(shown)
        best = chosen[np.argsort(-counts[chosen], kind="stable")[:k]].astype(np.int32)
        return self._members(self._cores.popular(best, 1, counts[best] / total), k, category)

    def similar_to(self, user_id: str) -> tuple[Int32, Int32]:
        """What `similar_users` needs to know of a user: the history, and the users that are not to be told.

        Apart from it, because what has happened since the training is looked at in the event loop alone.

        Raises:
            Problem: 404, the user is not known.
        """
        known, history, _, _ = self._lookup.of_user(user_id)
        if not known:
            unknown = FieldProblem(field="user_id", message="the model does not know this user")
            raise Problem(404, "user_unknown", "The model does not know this user.", errors=[unknown])
        own = self._catalogue.users.index(user_id)
        gone = [*self._without_history, *self._live.histories.deleted, *(() if own is None else (own,))]
        return history, np.unique(np.array(gone, np.int32))

    def similar_users(self, history: Int32, gone: Int32, k: int) -> list[tuple[str, float]]:
        """The users nearest to one with this history, and how far they are; none to one without a history."""
        if not len(history):
            return []
        recommender = self._loaded.artifact.recommender
        vectors = recommender.user_vectors(Histories.of([history]), self._loaded.steps)
        [hits] = self._users.search(vectors, [k], Histories.of([gone]))
        ids = map(self._catalogue.users.id, hits.items.tolist())
        return list(zip(ids, hits.distances.tolist(), strict=True))

    @cached_property
    def _users(self) -> FlatIndex:
        space = self._loaded.artifact.manifest.model.encoder.space
        return FlatIndex(self._catalogue.user_vectors, geometry=space)

    @cached_property
    def _without_history(self) -> list[int]:
        empty: list[int] = np.flatnonzero(self._catalogue.histories.lengths == 0).tolist()
        return empty

    def _allowed(self, category: str | None) -> Int32 | None:
        return None if category is None else allowed_items(Filter(categories_any=[category]), self._live.items)

    def _members(self, entries: list[bytes], k: int, category: str | None) -> bytes:
        warnings = [] if len(entries) == k else [b'"filters_exhausted"']
        if category is not None and not known_categories([category], self._live.items):
            warnings.append(b'"unknown_categories"')
        version = self._loaded.version.encode()
        return b'"model_version":"%b","items":[%b],"warnings":[%b]' % (version, b",".join(entries), b",".join(warnings))


def item_unknown() -> Problem:
    unknown = FieldProblem(field="item_id", message="there is no such item")
    return Problem(404, "item_unknown", "There is no item of this id.", errors=[unknown])
