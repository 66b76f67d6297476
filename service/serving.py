"""All that runs while one model is served."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from model.manifest import Manifest
from service.answers import Answers
from service.events.recorder import Recorder
from service.keeper import Keeper

__all__ = ["Serving"]

RETIRE_POLL_SECONDS = 0.05


class Serving:
    """See module. Requests that have begun keep it from being closed.

    Args:
        answers: answers requests.
        recorder: keeps events.
        keeper: keeps what is said about items and users.
    """

    def __init__(self, answers: Answers, recorder: Recorder, keeper: Keeper) -> None:
        self.answers = answers
        self.recorder = recorder
        self.keeper = keeper
        self._requests = 0

    @property
    def version(self) -> str:
        """Of the model."""
        return self.answers.engine.loaded.version

    @property
    def manifest(self) -> Manifest:
        """Of the model."""
        return self.answers.engine.loaded.artifact.manifest

    @contextmanager
    def used(self) -> Iterator[None]:
        """While the block runs, a request needs it."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def retire(self) -> None:
        """Close once no request needs it any more."""
        while self._requests:
            await asyncio.sleep(RETIRE_POLL_SECONDS)
        await self.close()

    async def close(self) -> None:
        """Release what it alone holds."""
        self.answers.batcher.close()
        await self.answers.live.close()
