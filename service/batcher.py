"""Queries that wait at the same time are answered together; requests for the same answer share it.

Nothing waits for a batch to fill. A batch takes what there is: on an idle service, what the event loop found on its
sockets in one turn; on a busy one, what came while the last batch ran. A query that is alone is answered where it
stands. A batch that is quick enough runs in the event loop itself, because handing it to a thread and back takes
longer; any other runs in the worker thread. Queries that wish for more than the nearest items take longer, so there is
one of them in a batch at most: many of them hold nobody up for long, and none of them waits for good.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.errors import Problem
from service.pace import LOOP_SECONDS, Pace
from service.query import Query
from service.worker import Worker

__all__ = ["Batcher"]

EXPIRY_SECONDS = 0.01  # deadlines are kept to within this

Waiter = asyncio.Future[bytes]
Outcome = bytes | Exception


@dataclass(eq=False, slots=True)
class _Job:
    """One answer to be made, and when each of those who wait for it has to have it."""

    key: str
    query: Query
    waiters: dict[Waiter, float] = field(default_factory=dict)


class Batcher:
    """Queues queries and answers them in batches.

    Args:
        make: the answers to a batch.
        keep: told every key and answer once.
        worker: where batches run that would hold up the event loop.
        pace: how long batches take.
        most: queries in a batch at most.
        max_waiting: requests that may wait.
        deadline_seconds: longest time a request may wait.
    """

    def __init__(
        self,
        make: Callable[[Sequence[Query]], list[bytes]],
        keep: Callable[[str, bytes], None],
        worker: Worker,
        *,
        pace: Pace,
        most: int,
        max_waiting: int,
        deadline_seconds: float,
    ) -> None:
        self.waiting = 0
        self._make = make
        self._keep = keep
        self._worker = worker
        self._pace = pace
        self._most = most
        self._max_waiting = max_waiting
        self._deadline_seconds = deadline_seconds
        self._jobs: dict[str, _Job] = {}  # in the queue or in a batch
        self._queue: OrderedDict[str, _Job] = OrderedDict()
        self._wishful: OrderedDict[str, _Job] = OrderedDict()  # the same, of queries that take longer
        self._scheduled = False
        self._away: asyncio.Task[None] | None = None  # the batch in the worker thread
        self._expiry: asyncio.TimerHandle | None = None

    async def ask(self, query: Query, key: str, *, alone: Callable[[], bool] = lambda: False) -> bytes:
        """The answer to a query.

        Args:
            query: what is asked.
            key: queries of one key have one answer.
            alone: whether nobody else asks now: then the answer is made at once, without the event loop's turning.

        Raises:
            Problem: 503, as many requests as allowed are waiting, or the deadline has passed.
            Exception: whatever `make` raises for this query alone.
        """
        others = self._worker.pending - (self._away is not None)
        if self.waiting + others >= self._max_waiting:
            raise Problem(503, "overloaded", "More requests are waiting than the service can take on.")
        if not self._jobs and not self._worker.pending and alone() and self._pace.seconds([query]) <= LOOP_SECONDS:
            return self._at_once(query, key)
        loop = asyncio.get_running_loop()
        job = self._jobs.get(key)
        if job is None:
            queue = self._queue if query.is_plain else self._wishful
            job = self._jobs[key] = queue[key] = _Job(key, query)
            self._schedule()
        waiter: Waiter = loop.create_future()
        job.waiters[waiter] = loop.time() + self._deadline_seconds
        self.waiting += 1
        if self._away is not None:  # otherwise the next batch sees to deadlines, which is soon
            self._watch()
        try:
            return await waiter
        finally:
            self.waiting -= 1
            if job.waiters.pop(waiter, None) is not None and not job.waiters:
                self._abandon(job)

    def close(self) -> None:
        """Forget deadlines, which would keep all this alive until they pass; nobody waits any more."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _at_once(self, query: Query, key: str) -> bytes:
        [outcome] = self._outcomes([query])
        if not isinstance(outcome, bytes):
            raise outcome
        self._keep(key, outcome)
        return outcome

    def _abandon(self, job: _Job) -> None:
        """Nobody waits for it any more; if it is in a batch already, it is made and kept all the same."""
        if self._queue.pop(job.key, None) is not None or self._wishful.pop(job.key, None) is not None:
            del self._jobs[job.key]

    def _schedule(self) -> None:
        """See to the queue once all that is ready in the event loop has run, so that it has joined the queue."""
        if not self._scheduled and self._away is None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        jobs = [self._queue.popitem(last=False)[1] for _ in range(min(self._most, len(self._queue)))]
        if self._wishful:
            jobs.append(self._wishful.popitem(last=False)[1])
        queries = [job.query for job in jobs]
        if not queries:
            return
        if not self._worker.pending and self._pace.seconds(queries) <= LOOP_SECONDS:
            self._settle(jobs, self._outcomes(queries))
        else:
            self._away = asyncio.create_task(self._send_away(jobs, queries))
        if self._jobs:
            self._watch()
        if self._queue or self._wishful:
            self._schedule()

    async def _send_away(self, jobs: list[_Job], queries: list[Query]) -> None:
        outcomes: Sequence[Outcome] = [Problem(503, "shutting_down", "The service is ending.")] * len(jobs)
        try:
            outcomes = await self._worker.run(self._outcomes, queries)
        except RuntimeError as error:  # the thread has ended
            outcomes = [error] * len(jobs)
        finally:
            self._away = None
            self._settle(jobs, outcomes)
            if self._queue or self._wishful:
                self._schedule()

    def _outcomes(self, queries: Sequence[Query]) -> Sequence[Outcome]:
        """An answer or an error for each query; a query that fails leaves the others their answers."""
        try:
            return self._make(queries)
        except Exception as error:
            return [error] if len(queries) == 1 else [self._outcomes([query])[0] for query in queries]

    def _settle(self, jobs: Sequence[_Job], outcomes: Sequence[Outcome]) -> None:
        for job, outcome in zip(jobs, outcomes, strict=True):
            del self._jobs[job.key]
            if isinstance(outcome, bytes):
                self._keep(job.key, outcome)
            waiters, job.waiters = job.waiters, {}
            for waiter in waiters:
                if waiter.done():  # its client has gone
                    continue
                if isinstance(outcome, bytes):
                    waiter.set_result(outcome)
                else:
                    waiter.set_exception(outcome)

    def _watch(self) -> None:
        """Look after deadlines when the first one passes."""
        if self._expiry is not None:
            return
        first = min((deadline for job in self._jobs.values() for deadline in job.waiters.values()), default=None)
        if first is not None:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_at(max(first, loop.time() + EXPIRY_SECONDS), self._expire)

    def _expire(self) -> None:
        self._expiry = None
        now = asyncio.get_running_loop().time()
        for job in list(self._jobs.values()):
            for waiter in [waiter for waiter, deadline in job.waiters.items() if deadline <= now]:
                del job.waiters[waiter]
                if not waiter.done():
                    late = f"There was no answer within {self._deadline_seconds:g} seconds."
                    waiter.set_exception(Problem(503, "deadline_passed", late))
            if not job.waiters:
                self._abandon(job)
        self._watch()
