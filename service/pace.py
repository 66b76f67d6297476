"""How long batches take on this machine: measured before the service is ready, which warms it up too."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.engine import Engine
from service.query import Query
from service.requests import MOST_ITEMS

__all__ = ["LOOP_SECONDS", "Pace", "measure_pace"]

Int32 = npt.NDArray[np.int32]

LOOP_SECONDS = 0.004  # that a batch may keep the event loop from turning
QUERIES, ITEMS = 16, 10
EXCLUDED = 1000  # items of the long history whose exclusion is timed
REPETITIONS = 3


@dataclass(frozen=True)
class Pace:
    """How long batches take.

    Attributes:
        batch: seconds of a batch, whatever is in it.
        query: further seconds of each query.
        item: further seconds of each item that a query asks for.
        excluded: further seconds of each item that a query leaves out.
    """

    batch: float
    query: float
    item: float
    excluded: float

    def seconds(self, queries: Sequence[Query]) -> float:
        """How long a batch of these queries takes; infinite where one wishes for more than the nearest items."""
        if not all(query.is_plain for query in queries):
            return math.inf  # as long as may be
        return self.batch + sum(
            self.query + self.item * query.k + self.excluded * len(query.excluded) for query in queries
        )


def measure_pace(engine: Engine) -> Pace:
    """The pace of a model in the calling thread, by real users; the fastest of a few runs counts.

    Answers of all lengths are made, so that no request pays for first calls.
    """
    catalogue = engine.loaded.artifact.catalogue
    users = np.linspace(0, len(catalogue.histories) - 1, QUERIES).astype(int)
    popular = engine.loaded.artifact.recommender.popular
    histories = [history if len(history := catalogue.histories[int(user)]) else popular[:ITEMS] for user in users]

    def query(history: Int32, k: int) -> Query:
        return Query(known=True, histories=(history,), excluded=history, k=k, key="")

    def queries(k: int) -> list[Query]:
        return [query(history, k) for history in histories]

    engine.popular(Query(known=False, histories=(), excluded=popular[:0], k=ITEMS, key=None))
    _seconds(engine, queries(MOST_ITEMS)[:1])
    alone = _seconds(engine, queries(ITEMS)[:1])
    if alone > LOOP_SECONDS:
        return Pace(batch=alone, query=0.0, item=0.0, excluded=0.0)
    together, longer = _seconds(engine, queries(ITEMS)), _seconds(engine, queries(MOST_ITEMS))
    item = max((longer - together) / QUERIES / (MOST_ITEMS - ITEMS), 0.0)
    each = max((together - alone) / (QUERIES - 1), 0.0)
    long = popular[:EXCLUDED]
    more = max(len(long) - len(histories[0]), 1)
    excluded = max((_seconds(engine, [query(long, ITEMS)]) - alone) / more, 0.0)
    return Pace(batch=max(alone - each, 0.0), query=max(each - ITEMS * item, 0.0), item=item, excluded=excluded)


def _seconds(engine: Engine, queries: Sequence[Query]) -> float:
    taken = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        engine.finish(queries, engine.infer(queries))
        taken.append(time.perf_counter() - started)
    return min(taken)
