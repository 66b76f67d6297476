"""One request from start to end: engine, cache and batcher put together."""

import time
from collections.abc import Callable, Sequence

import orjson

from service.batcher import Batcher
from service.cache import Cache
from service.engine import Engine, Query
from service.errors import Problem
from service.events.recorder import Recorder
from service.ids import new_id
from service.live import Live
from service.pace import Pace
from service.schemas import FieldProblem, RecommendRequest
from service.settings import Settings
from service.telemetry import Telemetry
from service.worker import Worker

__all__ = ["Answers"]


class Answers:
    """Answers requests.

    Args:
        engine: the phases.
        live: brings histories up to date for every request.
        recorder: keeps events.
        cache: where cores of answers are kept.
        worker: the thread for batches that would hold up the event loop.
        telemetry: what happened is counted here.
        pace: how long batches take.
        settings: bounds of batches and waiting.
    """

    def __init__(
        self,
        engine: Engine,
        live: Live,
        recorder: Recorder,
        cache: Cache,
        worker: Worker,
        telemetry: Telemetry,
        pace: Pace,
        settings: Settings,
    ) -> None:
        self.engine = engine
        self.live = live
        self.recorder = recorder
        self.cache = cache
        self.worker = worker
        self.batcher = Batcher(
            self._make,
            cache.put,
            worker,
            pace=pace,
            most=settings.max_batch,
            max_waiting=settings.max_pending,
            deadline_seconds=settings.deadline_seconds,
        )
        self._telemetry = telemetry

    async def recommend(
        self, request: RecommendRequest, request_id: str, *, alone: Callable[[], bool] = lambda: False
    ) -> bytes:
        """The body of the response, JSON.

        A cached core is spliced into the answer as it is, neither parsed nor serialised again.

        Args:
            request: what is asked for.
            request_id: of the request.
            alone: whether there is no other request at the moment, which this one would wait for.

        Raises:
            Problem: 404, the user is unknown and the request asks for an error; 503, overloaded or too late.
        """
        started = time.perf_counter()
        if self.live.behind:
            await self.live.catch_up()
        [query] = self.engine.prepare([request])
        if not query.known and request.fallback == "error":
            unknown = FieldProblem(field="user_id", message="the model does not know this user")
            raise Problem(404, "user_unknown", "The model does not know this user.", errors=[unknown])
        degraded, cached = ["events"] if self.live.degraded else [], False
        if query.key is None:
            core = self.engine.popular(query)
        else:
            if self.engine.loaded.steps == 0:
                degraded.append("diffusion")
            found = await self.cache.get(query.key)
            cached = found is not None
            if self.cache.degraded and not cached:
                degraded.append("cache")
            core = await self.batcher.ask(query, query.key, alone=alone) if found is None else found
        self._telemetry.count_answer(query.strategy)
        envelope = {
            "request_id": request_id,
            "recommendation_id": new_id(),
            "cached": cached,
            "degraded": degraded,
            "took_ms": round((time.perf_counter() - started) * 1000, 3),
        }
        return orjson.dumps(envelope)[:-1] + b"," + core[1:]

    def _make(self, queries: Sequence[Query]) -> list[bytes]:
        self._telemetry.batches.observe(len(queries))
        with self._telemetry.inference.time():
            found = self.engine.infer(queries)
            cores = self.engine.finish(queries, found)
        for hits in found:
            self._telemetry.count_rounds(hits.rounds)
        return cores
