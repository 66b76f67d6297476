"""From requests to answers in three phases, each on a list: prepare (ids), infer (torch, FAISS), finish (bytes).

prepare looks ids up and is cheap enough for the event loop; infer and finish belong in the worker thread. A
batcher can collect prepared queries and hand them on together: no phase relates one entry to another. A user's
vector is rounded differently in batches of different sizes, so distances then agree to about 1e-6 and items
nearer to a tie than that may change places.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from model.history import Histories
from service.registry import Loaded
from service.schemas import RecommendRequest, Strategy

__all__ = ["Engine", "Query", "Ranking"]

Int32 = npt.NDArray[np.int32]
Float64 = npt.NDArray[np.float64]

NOTHING: Int32 = np.zeros(0, np.int32)
DISTANCE_DIGITS = 6  # float32 vectors do not support more
SHARE_DIGITS = 8
LAYOUT = "1"  # of the core in the cache; a change of it must not meet older values


@dataclass(frozen=True, slots=True)
class Query:
    """A request with its ids looked up.

    Attributes:
        known: whether the model has seen the user.
        history: the user's item indices, newest last; empty if unknown.
        k, exclude_seen: as in the request.
        key: where the answer is cached; None if it is not worth it.
    """

    known: bool
    history: Int32
    k: int
    exclude_seen: bool
    key: str | None

    @property
    def strategy(self) -> Strategy:
        """A model of histories has nothing to say about an empty one."""
        return "hdrm" if len(self.history) else "popular"

    @property
    def excluded(self) -> Int32:
        """Item indices that must not be in the answer."""
        return self.history if self.exclude_seen else NOTHING


@dataclass(frozen=True, slots=True)
class Ranking:
    """The items of an answer, best first.

    Attributes:
        items: item indices, (k',) int32.
        scores: greater is better, (k',) float64.
        distances: (k',) float64; None for popular items.
        rounds: searches it took; None for popular items.
    """

    items: Int32
    scores: Float64
    distances: Float64 | None
    rounds: int | None


class Engine:
    """The phases, for one loaded model.

    Args:
        loaded: the model.
    """

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self._catalogue = loaded.artifact.catalogue
        self._recommender = loaded.artifact.recommender
        self._shares = self._catalogue.counts / max(int(self._catalogue.counts.sum()), 1)

    def prepare(self, requests: Sequence[RecommendRequest]) -> list[Query]:
        """Look users and their histories up."""
        return [self._query(request) for request in requests]

    def infer(self, queries: Sequence[Query]) -> list[Ranking]:
        """Rank items for every query; those of known users go through the diffusion together."""
        rankings: dict[int, Ranking] = {}
        personal = [row for row, query in enumerate(queries) if query.strategy == "hdrm"]
        if personal:
            histories = Histories.of([queries[row].history for row in personal])
            vectors = self._recommender.user_vectors(histories, self.loaded.steps)
            ks = [queries[row].k for row in personal]
            excluded = Histories.of([queries[row].excluded for row in personal])
            for row, hits in zip(personal, self._recommender.index.search(vectors, ks, excluded), strict=True):
                distances = hits.distances.round(DISTANCE_DIGITS)
                rankings[row] = Ranking(hits.items, 0.0 - distances, distances, hits.rounds)
        for row, query in enumerate(queries):
            if row not in rankings:
                items = self._recommender.most_popular(query.k, query.excluded)
                rankings[row] = Ranking(items, self._shares[items].round(SHARE_DIGITS), None, None)
        return [rankings[row] for row in range(len(queries))]

    def finish(self, queries: Sequence[Query], rankings: Sequence[Ranking]) -> list[bytes]:
        """The core of every answer: a JSON object without what differs from call to call (ids, times, cache)."""
        return [self._core(query, ranking) for query, ranking in zip(queries, rankings, strict=True)]

    def _query(self, request: RecommendRequest) -> Query:
        user = self._catalogue.users.index(request.user_id)
        history = NOTHING if user is None else np.asarray(self._catalogue.histories[user])
        # popular answers are quick to make and not cached, so that made-up users cannot fill the cache
        key = self._key(request, history) if len(history) else None
        return Query(user is not None, history, request.k, request.exclude_seen, key)

    def _key(self, request: RecommendRequest, history: Int32) -> str:
        """Everything the core depends on. `fallback` is not in it: it changes nothing for known users."""
        revision = hashlib.blake2b(history.tobytes(), digest_size=16).hexdigest()
        parts = [LAYOUT, self.loaded.version, request.user_id, revision]
        options = [request.k, request.exclude_seen, self.loaded.steps]
        return "hdrm:answer:" + hashlib.sha256(orjson.dumps([parts, options])).hexdigest()

    def _core(self, query: Query, ranking: Ranking) -> bytes:
        core = orjson.dumps(
            {
                "model_version": self.loaded.version,
                "strategy": query.strategy,
                "user_known": query.known,
                "warnings": ["filters_exhausted"] if len(ranking.items) < query.k else [],
            }
        )
        return core[:-1] + b',"items":[' + b",".join(self._items(ranking)) + b"]}"

    def _items(self, ranking: Ranking) -> list[bytes]:
        scores = ranking.scores.tolist()
        distances = [None] * len(scores) if ranking.distances is None else ranking.distances.tolist()
        return [
            b"%b,%b}"
            % (
                orjson.dumps({"rank": place + 1, "score": scores[place], "distance": distances[place]})[:-1],
                self._catalogue.fragments[item],
            )
            for place, item in enumerate(ranking.items.tolist())
        ]
