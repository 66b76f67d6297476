"""How long batches take on this machine: measured before a model answers requests."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from service.engine import Engine
from service.query import NOTHING, Query
from service.requests import MOST_ITEMS

__all__ = ["LOOP_SECONDS", "Pace", "measure_pace", "warm_up"]

Int32 = npt.NDArray[np.int32]

LOOP_SECONDS = 0.004  # that a batch may keep the event loop from turning
QUERIES, ITEMS = 16, 10  # fewer queries where those would hold up the loop
LONGER = 4  # queries of long answers, at most
EXCLUDED = 1000  # items of the long history whose exclusion is timed
REPETITIONS = 3
REST = 3  # for the requests to another model, as a multiple of what a run took


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


def warm_up(engine: Engine) -> None:
    """Make answers of all lengths once, so that no request pays for first calls."""
    histories = _histories(engine)
    engine.popular(Query(known=False, histories=(), excluded=NOTHING, k=ITEMS, key=None))
    for some, k in ((histories[:1], MOST_ITEMS), (histories, ITEMS)):
        queries = _queries(some, k)
        engine.finish(queries, engine.infer(queries))


async def measure_pace(engine: Engine) -> Pace:
    """The pace of a model in the event loop, by real users; the fastest of a few runs counts.

    Between runs the loop turns and has time for requests to another model. No run is of more queries than the loop may
    be kept by, as far as one tells what several take.
    """
    histories = _histories(engine)
    alone = await _seconds(engine, _queries(histories[:1], ITEMS))
    if alone > LOOP_SECONDS:
        return Pace(batch=alone, query=0.0, item=0.0, excluded=0.0)
    several = min(max(int(LOOP_SECONDS / alone), 2), QUERIES)
    some = min(several, LONGER)
    together = await _seconds(engine, _queries(histories[:several], ITEMS))
    longer = await _seconds(engine, _queries(histories[:some], MOST_ITEMS))
    few = await _seconds(engine, _queries(histories[:some], ITEMS))
    item = max((longer - few) / some / (MOST_ITEMS - ITEMS), 0.0)
    each = max((together - alone) / (several - 1), 0.0)
    long = engine.loaded.artifact.recommender.popular[:EXCLUDED]
    more = max(len(long) - len(histories[0]), 1)
    excluded = max((await _seconds(engine, _queries([long], ITEMS)) - alone) / more, 0.0)
    return Pace(batch=max(alone - each, 0.0), query=max(each - ITEMS * item, 0.0), item=item, excluded=excluded)


async def _seconds(engine: Engine, queries: Sequence[Query]) -> float:
    taken = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        engine.finish(queries, engine.infer(queries))
        taken.append(time.perf_counter() - started)
        await asyncio.sleep(REST * taken[-1])
    return min(taken)


def _histories(engine: Engine) -> list[Int32]:
    catalogue = engine.loaded.artifact.catalogue
    users = np.linspace(0, len(catalogue.histories) - 1, QUERIES).astype(int)
    popular = engine.loaded.artifact.recommender.popular
    return [history if len(history := catalogue.histories[int(user)]) else popular[:ITEMS] for user in users]


def _queries(histories: Sequence[Int32], k: int) -> list[Query]:
    return [Query(known=True, histories=(history,), excluded=history, k=k, key="") for history in histories]
