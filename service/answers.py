"""One request from start to end: engine, cache and batcher put together."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, TypeVarTuple

import orjson

from service.batcher import Batcher
from service.cache import Cache
from service.engine import Engine
from service.errors import Problem
from service.ids import new_id
from service.listings import Listings
from service.live.live import Live
from service.pace import Pace
from service.query import Query
from service.requests import RankRequest, RecommendRequest
from service.settings import Settings
from service.telemetry import Telemetry
from service.worker import Worker

__all__ = ["Answer", "Answers"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        body: JSON.
        phases: what took how long, as the value of a Server-Timing header.
    """

    body: bytes
    phases: bytes


class Answers:
    """Answers requests.

    Args:
        engine: the phases.
        live: brings what has happened up to date for every request.
        cache: where cores of answers are kept.
        worker: the thread for what would hold up the event loop.
        telemetry: what happened is counted here.
        pace: how long batches take.
        settings: bounds of batches and waiting.
    """

    def __init__(
        self,
        engine: Engine,
        live: Live,
        cache: Cache,
        worker: Worker,
        telemetry: Telemetry,
        pace: Pace,
        settings: Settings,
    ) -> None:
        self.engine = engine
        self.listings = Listings(engine)
        self.live = live
        self.cache = cache
        self.worker = worker
        self.batcher = Batcher(
            partial(_made, engine, telemetry),  # a method would keep all this alive after it has been replaced
            cache.put,
            worker,
            pace=pace,
            most=settings.max_batch,
            max_waiting=settings.max_pending,
            deadline_seconds=settings.deadline_seconds,
        )
        self._telemetry = telemetry
        self._max_pending = settings.max_pending
        self._deadline_seconds = settings.deadline_seconds

    async def recommend(
        self,
        request: RecommendRequest | RankRequest,
        request_id: str,
        *,
        alone: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """The answer to a request.

        A cached core is spliced into the answer as it is, neither parsed nor serialised again.

        Args:
            request: what is asked for.
            request_id: of the request.
            alone: whether there is no other request at the moment, which this one would wait for.

        Raises:
            Problem: 404, somebody is unknown and the request asks for an error; 409, its cursor does not go with it;
                503, overloaded or too late.
        """
        started = time.perf_counter()
        if self.live.behind:
            await self.live.catch_up()
        [query] = self.engine.prepare([request])
        degraded, cached = ["events"] if self.live.degraded else [], False
        looked_up = fetched = time.perf_counter()
        if query.key is None:
            plain = query.is_plain
            core = self.engine.popular(query) if plain else await self.beside(self.engine.popular, query)
        else:
            if self.engine.loaded.steps == 0:
                degraded.append("diffusion")
            found = await self.cache.get(query.key)
            cached = found is not None
            if self.cache.degraded and not cached:
                degraded.append("cache")
            fetched = time.perf_counter()
            core = await self.batcher.ask(query, query.key, alone=alone) if found is None else found
        ended = time.perf_counter()
        self._telemetry.count_answer(query.strategy, self.engine.loaded.version)
        envelope = {
            "request_id": request_id,
            "recommendation_id": new_id(),
            "cached": cached,
            "degraded": degraded,
            "took_ms": round((ended - started) * 1000, 3),
        }
        phases = b"lookup;dur=%.3f, cache;dur=%.3f, model;dur=%.3f" % (
            (looked_up - started) * 1000,
            (fetched - looked_up) * 1000,
            (ended - fetched) * 1000,
        )
        return Answer(orjson.dumps(envelope)[:-1] + b"," + core[1:], phases)

    async def beside(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """The result of what would hold up the event loop.

        Raises:
            Problem: 503, too many wait already, or this one has waited too long.
        """
        if self.batcher.waiting + self.worker.pending >= self._max_pending:
            raise Problem(503, "overloaded", "More requests are waiting than the service can take on.")
        try:
            async with asyncio.timeout(self._deadline_seconds):
                return await self.worker.run(function, *arguments)
        except TimeoutError:
            late = f"There was no answer within {self._deadline_seconds:g} seconds."
            raise Problem(503, "deadline_passed", late) from None


def _made(engine: Engine, telemetry: Telemetry, queries: Sequence[Query]) -> list[bytes]:
    telemetry.batches.observe(len(queries))
    with telemetry.inference.time():
        found = engine.infer(queries)
        cores = engine.finish(queries, found)
    for hits in found:
        telemetry.count_rounds(hits.rounds)
    return cores
