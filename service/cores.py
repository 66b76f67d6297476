"""The core of an answer: a JSON object without what differs from call to call (ids, times, cache)."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from service.cursor import write_cursor
from service.live.state import LiveState
from service.query import Query
from service.registry import Loaded

__all__ = ["Cores"]

Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]
Reasons = Sequence[tuple[int, float]]

REMEMBERED_ITEMS = 2**14  # about 5 MB of fragments


class Cores:
    """Writes cores, for one model.

    Args:
        loaded: the model.
        live: what has changed since it was trained.
    """

    def __init__(self, loaded: Loaded, live: LiveState) -> None:
        self._version = loaded.version
        self._catalogue = loaded.artifact.catalogue
        self._items = live.items
        self._total = max(int(self._catalogue.counts.sum()), 1)
        self._own_fragment = lru_cache(REMEMBERED_ITEMS)(self._catalogue.fragments.__getitem__)

    def core(self, query: Query, entries: Sequence[bytes], *, ended: bool) -> bytes:
        """The core with these items.

        Args:
            query: what was asked.
            entries: of `nearest`, `reasoned` or `popular`.
            ended: whether there is nothing behind them.
        """
        behind = query.shape.offset + query.k
        exhausted = len(entries) < min(query.k, query.deepest - query.shape.offset)
        ended = ended or exhausted or behind >= query.deepest
        warnings = (*query.warnings, "filters_exhausted") if exhausted else query.warnings
        return (
            b'{"model_version":"%b","strategy":"%b","user_known":%b,"items":[%b],"warnings":[%b],"next_cursor":%b}'
            % (
                self._version.encode(),
                query.strategy.encode(),
                JSON[query.known],
                b",".join(entries),
                ",".join([f'"{warning}"' for warning in warnings]).encode(),
                b"null" if ended else b'"%b"' % write_cursor(self._version, query.options, behind).encode(),
            )
        )

    def nearest(self, items: Int32, distances: Float64, first: int) -> list[bytes]:
        """JSON of items that were found by nearness. Vectors in float32 do not support more digits."""
        fragment = self.fragment if self._items.fragments else self._own_fragment
        return [
            b'{%b,"rank":%d,"score":-%.6f,"distance":%.6f}' % (fragment(item), rank, distance, distance)
            for rank, (item, distance) in enumerate(zip(items.tolist(), distances.tolist(), strict=True), first)
        ]

    def popular(self, items: Int32, first: int, scores: Float64 | None = None) -> list[bytes]:
        """JSON of items that were chosen without a distance; the score is the share of all interactions by default."""
        shares = self.shares(items) if scores is None else scores
        return [
            b'{%b,"rank":%d,"score":%.8f,"distance":null}' % (self.fragment(item), rank, share)
            for rank, (item, share) in enumerate(zip(items.tolist(), shares.tolist(), strict=True), first)
        ]

    def shares(self, items: Int32) -> Float64:
        """Of all interactions that the model was trained on; 0 for new items."""
        return self._items.counts(items) / self._total

    def with_reasons(self, entry: bytes, reasons: Reasons) -> bytes:
        """An entry, and the items of the history that are nearest to it."""
        parts = [self._reason(item, distance) for item, distance in reasons]
        return b'%b,"reasons":[%b]}' % (entry[:-1], b",".join(parts))

    def with_fields(self, entry: bytes, fields: frozenset[str]) -> bytes:
        """An entry with some of its fields alone."""
        known: Mapping[str, Any] = orjson.loads(entry)
        return orjson.dumps({name: value for name, value in known.items() if name in fields})

    def fragment(self, item: int) -> bytes:
        """What is known of an item now."""
        changed = self._items.fragments.get(item)
        return self._own_fragment(item) if changed is None else changed

    def _reason(self, item: int, distance: float) -> bytes:
        reason: dict[str, Any] = {"item_id": self._items.id(item), "distance": round(distance, 6)}
        title = self._items.facts(item).title
        return orjson.dumps(reason if title is None else reason | {"title": title})


JSON = {True: b"true", False: b"false", None: b"null"}
