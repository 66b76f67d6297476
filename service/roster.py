"""Who answers: the current model, and beside it perhaps another for a share of the users."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from pydantic import ValidationError

from service.answers import Answer
from service.errors import Problem, invalid, problem_document, problem_of
from service.requests import RankRequest, RecommendRequest
from service.serving import Serving
from service.telemetry import Telemetry

__all__ = ["Canary", "Roster"]

CLOSE_SECONDS = 2.0  # for requests that were cut off to notice it
TOGETHER = 32  # requests of one batch that are asked at a time, so that others find room between


class Canary(NamedTuple):
    """A model that a share of the users is answered by.

    Attributes:
        serving: what runs it.
        share: more than 0, less than 1.
    """

    serving: Serving
    share: float


class Roster:
    """See module. A request is answered from start to end by the model that it began with.

    Args:
        current: answers everybody, but for a canary's share.
        telemetry: answers are counted there by model, while there are several.
        max_together: requests of one batch that may wait at a time.
    """

    def __init__(self, current: Serving, telemetry: Telemetry, *, max_together: int) -> None:
        self.current = current
        self.canary: Canary | None = None
        self._telemetry = telemetry
        self._together = min(TOGETHER, max_together)
        self._turn = asyncio.Lock()
        self._retiring = set[asyncio.Task[None]]()

    async def recommend(
        self,
        request: RecommendRequest | RankRequest,
        request_id: str,
        *,
        alone: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """The answer to a request, by whose turn it is; see `Answers.recommend`."""
        return await self._recommend(self.current, self.canary, request, request_id, alone)

    async def _recommend(
        self,
        current: Serving,
        canary: Canary | None,
        request: RecommendRequest | RankRequest,
        request_id: str,
        alone: Callable[[], bool] = lambda: False,
    ) -> Answer:
        if canary is None:
            with current.used():
                return await current.answers.recommend(request, request_id, alone=alone)
        started, failed = time.perf_counter(), True
        with (serving := _chosen(current, canary, request)).used():
            try:
                answer = await serving.answers.recommend(request, request_id, alone=alone)
                failed = False
            except Problem as problem:
                failed = problem.status_code >= 500
                raise
            finally:
                self._telemetry.time_model(serving.version, time.perf_counter() - started, failed=failed)
        return answer

    async def batch(self, requests: Sequence[Any], request_id: str) -> AsyncIterator[bytes]:
        """The answers to several requests, JSON in parts; what is wrong with one does not keep the others from theirs.

        What was not taken yet is not made: a batch may be long, and its client slow.
        """
        current, canary = self.current, self.canary
        with current.used(), nullcontext() if canary is None else canary.serving.used():
            for start in range(0, len(requests), self._together):
                part = requests[start : start + self._together]
                entries = (self._entry(current, canary, request, request_id) for request in part)
                yield (b"," if start else b'{"results":[') + b",".join(await asyncio.gather(*entries))
        yield b"]}"

    def replace(self, serving: Serving) -> None:
        """Let everybody be answered by another model from the next request on; what is under way goes on as it was."""
        old, self.current = self.current, serving
        if self.canary is not None and self.canary.serving is serving:
            self.canary = None
        self._retire(old)

    def try_out(self, canary: Canary | None) -> None:
        """Let a share of the users be answered by a model from their next request on, or none of them."""
        old, self.canary = self.canary, canary
        if old is not None and (canary is None or canary.serving is not old.serving):
            self._retire(old.serving)

    async def close(self) -> None:
        """Release what is held; requests have ended."""
        self.try_out(None)
        if self._retiring:
            await asyncio.wait(self._retiring, timeout=CLOSE_SECONDS)
        await self.current.close()

    def _retire(self, serving: Serving) -> None:
        task = asyncio.create_task(serving.retire())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _entry(self, current: Serving, canary: Canary | None, sent: Any, request_id: str) -> bytes:
        try:
            wanted = RecommendRequest.model_validate(sent)
            if wanted.filter is not None:  # it is looked up at once, which takes a while: others find room between
                async with self._turn:
                    await asyncio.sleep(0)
            answer = await self._recommend(current, canary, wanted, request_id)
        except ValidationError as error:
            problem = invalid(error.errors())
        except Exception as error:
            problem = problem_of(error, request_id=request_id)
        else:
            return b'{"status":200,"answer":%b}' % answer.body
        document = problem_document(problem, instance="/v1/recommend/batch", request_id=request_id)
        return b'{"status":%d,"problem":%b}' % (problem.status_code, document)


def _chosen(current: Serving, canary: Canary, request: RecommendRequest | RankRequest) -> Serving:
    who = request.user_id or "\n".join(request.user_ids or request.history or ())
    digest = hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return canary.serving if int.from_bytes(digest) < canary.share * 2**64 else current
