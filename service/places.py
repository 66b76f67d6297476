"""Where items are, and which are near: those of the model, and the new ones that have found a place since."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model.history import Histories
from model.retrieval import Allowed, Hits
from model.retrieval.metric import metric
from service.live.placement import Placed
from service.live.state import LiveState
from service.registry import Loaded

__all__ = ["Places"]

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]


class Places:
    """Of one model.

    Args:
        loaded: the model.
        live: what has happened since it was trained.

    Attributes:
        size: items of the model.
        metric: how far items are apart.
    """

    def __init__(self, loaded: Loaded, live: LiveState) -> None:
        self._vectors = loaded.artifact.model.vectors
        self._index = loaded.artifact.recommender.index
        self._placement = live.placement
        self.size = len(self._vectors)
        self.metric = metric(loaded.artifact.manifest.model.encoder.space)

    @property
    def new(self) -> Placed:
        """New items that have a place. To be asked once for what belongs together: another thread may change it."""
        return self._placement.placed

    def of(self, items: Int32, placed: Placed) -> tuple[Int32, Float32]:
        """Those of the items that have a place, in their order, and their tangent vectors."""
        if not len(items) or items.max() < self.size:
            return items, self._vectors[items]
        new, places = placed
        known = items[(items < self.size) | np.isin(items, new)]
        vectors, own = np.empty((len(known), self._vectors.shape[1]), np.float32), known < self.size
        vectors[own] = self._vectors[known[own]]
        vectors[~own] = places[np.searchsorted(new, known[~own])]
        return known, vectors

    def distances(self, vector: Float32, vectors: Float32) -> Float64:
        """From one tangent vector to others: (d,), (n, d) -> (n,)."""
        return self.metric.distance(self.metric.keys(vector, vectors, np.arange(len(vectors))))

    def nearest(
        self,
        vectors: Float32,
        ks: Sequence[int],
        excluded: Histories,
        excluded_new: Sequence[Int32],
        placed: Placed,
        allowed: Allowed = None,
    ) -> list[Hits]:
        """The nearest items to tangent vectors, new ones among them.

        Args:
            vectors, ks, excluded: as of `Retriever.search`.
            excluded_new: for every vector, new items that must not be returned.
            placed: the new items.
            allowed: as of `Retriever.search`, but new items can be in it.
        """
        found = self._index.search(vectors, ks, excluded, self._own(allowed))
        if not len(placed.items):
            return found
        own = [None] * len(found) if allowed is None else allowed
        return [
            self._with_new(hits, placed, *each)
            for hits, *each in zip(found, vectors, ks, excluded_new, own, strict=True)
        ]

    def _own(self, allowed: Allowed) -> Allowed:
        """Of what is allowed, the items of the model."""
        if allowed is None:
            return None
        return [None if items is None else items[: np.searchsorted(items, self.size)] for items in allowed]

    def _with_new(
        self, hits: Hits, new: Placed, vector: Float32, k: int, excluded: Int32, allowed: Int32 | None
    ) -> Hits:
        kept = ~np.isin(new.items, excluded)
        if allowed is not None:
            kept &= np.isin(new.items, allowed)
        items = np.concatenate((hits.items, new.items[kept]))
        distances = np.concatenate((hits.distances, self.distances(vector, new.vectors[kept])))
        order = np.lexsort((items, distances))[:k]
        return replace(hits, items=items[order], distances=distances[order])
