"""One request from start to end: engine, cache and worker put together."""

import time
import uuid
from collections.abc import Sequence

import orjson

from service.cache import Cache
from service.engine import Engine, Query
from service.errors import Problem
from service.schemas import FieldProblem, RecommendRequest
from service.telemetry import Telemetry
from service.worker import Worker

__all__ = ["Answers"]


class Answers:
    """Answers requests.

    Args:
        engine: the phases.
        cache: where cores of answers are kept.
        worker: the thread that infer and finish run in.
        telemetry: what happened is counted here.
    """

    def __init__(self, engine: Engine, cache: Cache, worker: Worker, telemetry: Telemetry) -> None:
        self.engine = engine
        self.cache = cache
        self.worker = worker
        self._telemetry = telemetry

    async def recommend(self, request: RecommendRequest, request_id: str) -> bytes:
        """The body of the response, JSON.

        A cached core is spliced into the answer as it is, neither parsed nor serialised again.

        Raises:
            Problem: 404, the user is unknown and the request asks for an error; 503, overloaded.
        """
        started = time.perf_counter()
        [query] = self.engine.prepare([request])
        if not query.known and request.fallback == "error":
            unknown = FieldProblem(field="user_id", message="the model does not know this user")
            raise Problem(404, "user_unknown", "The model does not know this user.", errors=[unknown])
        degraded = ["diffusion"] if query.strategy == "hdrm" and self.engine.loaded.steps == 0 else []
        if query.key is None:
            core, cached, bypassed = await self._make(query), False, False
        else:
            core, cached, bypassed = await self._through_cache(query, query.key)
        self._telemetry.answers.labels(query.strategy).inc()
        envelope = {
            "request_id": request_id,
            "recommendation_id": uuid.uuid4().hex,
            "cached": cached,
            "degraded": degraded + ["cache"] * bypassed,
            "took_ms": round((time.perf_counter() - started) * 1000, 3),
        }
        return orjson.dumps(envelope)[:-1] + b"," + core[1:]

    async def _through_cache(self, query: Query, key: str) -> tuple[bytes, bool, bool]:
        """The core, whether it was cached, and whether the cache was out of reach."""
        core = await self.cache.get(key)
        if core is not None:
            self._telemetry.cache.labels(self.cache.backend, "hit").inc()
            return core, True, False
        bypassed = self.cache.degraded
        self._telemetry.cache.labels(self.cache.backend, "error" if bypassed else "miss").inc()
        core = await self._make(query)
        if not bypassed:
            await self.cache.set(key, core)
        return core, False, bypassed or self.cache.degraded

    async def _make(self, query: Query) -> bytes:
        [core] = await self.worker.run(self._infer_and_finish, [query])
        return core

    def _infer_and_finish(self, queries: Sequence[Query]) -> list[bytes]:
        with self._telemetry.inference.time():
            rankings = self.engine.infer(queries)
        for ranking in rankings:
            if ranking.rounds is not None:
                self._telemetry.count_rounds(ranking.rounds)
        return self.engine.finish(queries, rankings)
