"""From requests to answers in three phases, each on a list: prepare (ids), infer (model), finish (bytes).

prepare looks ids up; infer and finish are given the queries of all requests that have arrived together: one gather
of histories, one denoising, one search. No phase relates one entry to another. Users without a history need no
inference: their answer is cut out of one list of popular items.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model.history import Histories
from model.reorder import diversified, relevance
from model.retrieval import Hits
from model.steering import centroid, turned
from service.cores import Cores
from service.live.placement import Placed
from service.live.state import LiveState
from service.lookup import Lookup
from service.places import Places
from service.query import NOTHING, Query
from service.reasons import MOST_REASONED, nearest_reasons
from service.registry import Loaded
from service.requests import MOST_ITEMS, RankRequest, RecommendRequest

__all__ = ["Engine"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

TURN = 0.3  # away from what is disliked, as a share of its tangent vector


class Engine:
    """The phases, for one loaded model.

    Args:
        loaded: the model.
        live: what has happened since it was trained; None for nothing.
    """

    def __init__(self, loaded: Loaded, live: LiveState | None = None) -> None:
        self.loaded = loaded
        self.live = LiveState(loaded, {}) if live is None else live
        self.lookup = Lookup(loaded, self.live)
        self.cores = Cores(loaded, self.live)
        self.places = Places(loaded, self.live)
        self._recommender = loaded.artifact.recommender
        self._counts = loaded.artifact.catalogue.counts
        self._popular: tuple[bytes, list[bytes]] | None = None

    def prepare(self, requests: Sequence[RecommendRequest | RankRequest]) -> list[Query]:
        """Look requests up.

        Raises:
            Problem: see `Lookup`.
        """
        return [
            self.lookup.recommend(request) if isinstance(request, RecommendRequest) else self.lookup.rank(request)
            for request in requests
        ]

    def popular(self, query: Query) -> bytes:
        """The core of an answer to somebody without a history."""
        if query.is_plain and not len(query.excluded):
            return self.cores.core(query, self._most_popular()[: query.k], ended=False)
        items, offset = self._by_popularity(query), query.shape.offset
        part = items[offset : min(offset + query.k, query.deepest)]
        entries = self._shaped(query, part, self.cores.popular(part, offset + 1))
        return self.cores.core(query, entries, ended=query.shape.ranked)

    def infer(self, queries: Sequence[Query]) -> list[Hits]:
        """Rank items for those with a history, all of them together."""
        rows = [history for query in queries for history in query.histories]
        histories = Histories.of(rows)
        vectors = self._recommender.user_vectors(histories, self.loaded.steps)
        placed = self.places.new
        if any(len(query.histories) > 1 or len(query.disliked) for query in queries):
            vectors = self._points(queries, vectors, placed)
        usual = len(rows) == len(queries) and all(query.excluded is query.histories[0] for query in queries)
        excluded = histories if usual else Histories.of([query.excluded for query in queries])
        allowed = None if all(query.is_plain for query in queries) else [query.shape.allowed for query in queries]
        ks, excluded_new = [query.reach for query in queries], [query.excluded_new for query in queries]
        found = self.places.nearest(vectors, ks, excluded, excluded_new, placed, allowed)
        return [
            hits if query.is_plain else self._cut(query, hits, placed)
            for query, hits in zip(queries, found, strict=True)
        ]

    def finish(self, queries: Sequence[Query], found: Sequence[Hits]) -> list[bytes]:
        """The core of every answer."""
        return [self._core(query, hits) for query, hits in zip(queries, found, strict=True)]

    def _core(self, query: Query, hits: Hits) -> bytes:
        first = query.shape.offset + 1
        if query.is_plain:
            return self.cores.core(query, self.cores.nearest(hits.items, hits.distances, first), ended=False)
        near = int(np.isfinite(hits.distances).sum())
        entries = self.cores.nearest(hits.items[:near], hits.distances[:near], first)
        entries += self.cores.popular(hits.items[near:], first + near)
        return self.cores.core(query, self._shaped(query, hits.items, entries), ended=query.shape.ranked)

    def _shaped(self, query: Query, items: Int32, entries: list[bytes]) -> list[bytes]:
        shape = query.shape
        if shape.explain:
            entries = [
                self.cores.with_reasons(entry, reasons)
                for entry, reasons in zip(entries, self._reasons(query, items), strict=True)
            ]
        if shape.fields is not None:
            entries = [self.cores.with_fields(entry, shape.fields) for entry in entries]
        return entries

    def _points(self, queries: Sequence[Query], vectors: Float32, placed: Placed) -> Float32:
        """One vector for each query, of those of its members."""
        points, first = np.empty((len(queries), vectors.shape[1]), np.float32), 0
        for row, query in enumerate(queries):
            members = vectors[first : first + len(query.histories)]
            first += len(query.histories)
            points[row] = centroid(members, curved=self.places.metric.curved)
            away = self.places.of(query.disliked, placed)[1]
            if len(away):
                points[row] = turned(points[row], away, by=TURN)
        return points

    def _cut(self, query: Query, hits: Hits, placed: Placed) -> Hits:
        """The part of a list that is asked for, in the order that is wished for."""
        shape, stop = query.shape, min(query.shape.offset + query.k, query.deepest)
        items, distances = hits.items, hits.distances
        if shape.reorders and len(items):
            welcome = relevance(distances, self.live.items.counts(items), shape.novelty)
            order = np.argsort(-welcome, kind="stable")
            if shape.diversity:
                vectors = self.places.of(items, placed)[1]
                order = order[diversified(self.places.metric, vectors[order], welcome[order], stop, shape.diversity)]
            items, distances = items[order], distances[order]
        if shape.named and len(items) < stop:  # those without a place come last
            unplaced = self._unplaced(query, placed)
            items = np.concatenate((items, unplaced))
            distances = np.concatenate((distances, np.full(len(unplaced), np.inf)))
        return replace(hits, items=items[shape.offset : stop], distances=distances[shape.offset : stop])

    def _reasons(self, query: Query, items: Int32) -> list[Sequence[tuple[int, float]]]:
        """For each item those of the histories that are nearest to it."""
        placed = self.places.new
        taken = np.unique(np.concatenate((*query.histories, query.new, NOTHING))[-MOST_REASONED:])
        taken, places = self.places.of(taken[~np.isin(taken, self.live.items.hidden)], placed)
        explained, vectors = self.places.of(items, placed)
        reasons = nearest_reasons(self.places.metric, explained, vectors, taken, places)
        found = dict(zip(explained.tolist(), reasons, strict=True))
        return [found.get(item, ()) for item in items.tolist()]

    def _unplaced(self, query: Query, placed: Placed) -> Int32:
        """New items that were named, may be answered, and have no place."""
        allowed = NOTHING if query.shape.allowed is None else query.shape.allowed
        new = allowed[allowed >= self.places.size]
        return new[~np.isin(new, placed.items) & ~np.isin(new, query.excluded_new)]

    def _by_popularity(self, query: Query) -> Int32:
        """All items that may be answered, the most popular first; new ones that were named last."""
        allowed, size = query.shape.allowed, self.places.size
        order = self._recommender.popular
        if allowed is not None:
            own = allowed[allowed < size]
            order = own[np.argsort(-self._counts[own], kind="stable")]
        order = order[~np.isin(order, query.excluded)]
        if not query.shape.named or allowed is None:
            return order
        new = allowed[allowed >= size]
        return np.concatenate((order, new[~np.isin(new, query.excluded_new)]))

    def _most_popular(self) -> list[bytes]:
        """JSON of as many popular items as can be asked for at once, the most popular first."""
        if self._popular is None or self._popular[0] != self.live.revision:
            items = self._recommender.most_popular(MOST_ITEMS, self.live.items.hidden)
            self._popular = self.live.revision, self.cores.popular(items, 1)
        return self._popular[1]
