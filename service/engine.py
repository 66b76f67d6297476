"""From requests to answers in three phases, each on a list: prepare (ids), infer (model), finish (bytes).

prepare looks ids up; infer and finish are given the queries of all requests that have arrived together: one gather
of histories, one denoising, one search. No phase relates one entry to another. Users without a history need no
inference: their answer is cut out of one list of popular items.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import orjson

from model.history import Histories
from model.retrieval import Hits
from service.live import LiveHistories
from service.registry import Loaded
from service.schemas import MOST_ITEMS, RecommendRequest, Strategy

__all__ = ["Engine", "Query"]

Int32 = npt.NDArray[np.int32]

NOTHING: Int32 = np.zeros(0, np.int32)
REMEMBERED_USERS = 2**14  # about 3 MB of short ids
REMEMBERED_ITEMS = 2**14  # about 5 MB of fragments
LAYOUT = "3"  # of the core in the cache; a change of it must not meet older values


@dataclass(frozen=True, slots=True)
class Query:
    """A request with its ids looked up.

    Attributes:
        known: whether the user has been seen, by the model or since.
        history: the user's item indices, newest last; empty if unknown.
        k, exclude_seen: as in the request.
        key: where the answer is cached; None where there is no history to infer from.
        disliked: item indices that must not be in the answer.
    """

    known: bool
    history: Int32
    k: int
    exclude_seen: bool
    key: str | None
    disliked: Int32 = field(default_factory=lambda: NOTHING)

    @property
    def strategy(self) -> Strategy:
        """A model of histories has nothing to say about an empty one."""
        return "popular" if self.key is None else "hdrm"

    @property
    def excluded(self) -> Int32:
        """Item indices that must not be in the answer."""
        if not len(self.disliked):
            return self.history if self.exclude_seen else NOTHING
        return np.concatenate((self.history, self.disliked)) if self.exclude_seen else self.disliked


class Engine:
    """The phases, for one loaded model.

    Args:
        loaded: the model.
        live: what happened since it was trained; None for nothing.
    """

    def __init__(self, loaded: Loaded, live: LiveHistories | None = None) -> None:
        self.loaded = loaded
        self._catalogue = loaded.artifact.catalogue
        self._live = LiveHistories(self._catalogue, {}) if live is None else live
        self._recommender = loaded.artifact.recommender
        self._histories = self._catalogue.histories
        # who comes again soon is not looked for again
        self._users = lru_cache(REMEMBERED_USERS)(self._catalogue.users.index)
        self._fragment = lru_cache(REMEMBERED_ITEMS)(self._catalogue.fragments.__getitem__)
        # what all keys of this model have in common is digested once
        self._keys = hashlib.blake2b(orjson.dumps([LAYOUT, loaded.version, loaded.steps]), digest_size=16)

    def prepare(self, requests: Sequence[RecommendRequest]) -> list[Query]:
        """Look users and their histories up."""
        return [self._query(request) for request in requests]

    def popular(self, query: Query) -> bytes:
        """The core of an answer to a user without a history."""
        if len(query.disliked):
            return self._core(query, self._listed(self._recommender.most_popular(query.k, query.disliked)))
        return self._core(query, self._popular[: query.k])

    def infer(self, queries: Sequence[Query]) -> list[Hits]:
        """Rank items for users with a history, all of them together."""
        histories = Histories.of([query.history for query in queries])
        vectors = self._recommender.user_vectors(histories, self.loaded.steps)
        usual = all(query.exclude_seen and not len(query.disliked) for query in queries)
        excluded = histories if usual else Histories.of([query.excluded for query in queries])
        return self._recommender.index.search(vectors, [query.k for query in queries], excluded)

    def finish(self, queries: Sequence[Query], found: Sequence[Hits]) -> list[bytes]:
        """The core of every answer: a JSON object without what differs from call to call (ids, times, cache)."""
        return [self._core(query, self._nearest(hits)) for query, hits in zip(queries, found, strict=True)]

    def _query(self, request: RecommendRequest) -> Query:
        known, history, disliked = self._history(request.user_id)
        # popular answers are quicker to make than to look up
        key = self._key(request, history, disliked) if len(history) else None
        return Query(known, history, request.k, request.exclude_seen, key, disliked)

    def _history(self, user_id: str) -> tuple[bool, Int32, Int32]:
        """Whether a user is known, and what of."""
        since = self._live.of(user_id)
        if since is not None:
            return True, since.items, since.disliked
        user = self._users(user_id)
        return (False, NOTHING, NOTHING) if user is None else (True, self._histories[user], NOTHING)

    def _key(self, request: RecommendRequest, history: Int32, disliked: Int32) -> str:
        """Everything the core depends on. `fallback` is not in it: it changes nothing for known users."""
        digest = self._keys.copy()
        # the length of a history is told first, so that no id can pass for part of one
        digest.update(b"%d %d %d %d " % (request.k, request.exclude_seen, len(history), len(disliked)))
        digest.update(history.tobytes())
        digest.update(disliked.tobytes())
        digest.update(request.user_id.encode())
        return "hdrm:answer:" + digest.hexdigest()

    def _core(self, query: Query, entries: Sequence[bytes]) -> bytes:
        return b'{"model_version":"%b","strategy":"%b","user_known":%b,"items":[%b],"warnings":[%b]}' % (
            self.loaded.version.encode(),
            query.strategy.encode(),
            b"true" if query.known else b"false",
            b",".join(entries),
            b'"filters_exhausted"' if len(entries) < query.k else b"",
        )

    def _nearest(self, hits: Hits) -> list[bytes]:
        """JSON of the items of an answer. Vectors in float32 do not support more digits."""
        return [
            b'{%b,"rank":%d,"score":-%.6f,"distance":%.6f}' % (self._fragment(item), rank, distance, distance)
            for rank, (item, distance) in enumerate(zip(hits.items.tolist(), hits.distances.tolist(), strict=True), 1)
        ]

    def _listed(self, items: Int32) -> list[bytes]:
        """JSON of popular items."""
        counts = self._catalogue.counts
        shares = counts[items] / max(int(counts.sum()), 1)
        return [
            b'{%b,"rank":%d,"score":%.8f,"distance":null}' % (self._fragment(item), rank, share)
            for rank, (item, share) in enumerate(zip(items.tolist(), shares.tolist(), strict=True), 1)
        ]

    @cached_property
    def _popular(self) -> list[bytes]:
        """JSON of as many popular items as can be asked for, the most popular first."""
        return self._listed(self._recommender.most_popular(MOST_ITEMS, NOTHING))
