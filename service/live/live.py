"""The state brought up to date before it is looked at."""

import asyncio
import logging
from contextlib import suppress

from model.errors import UnavailableError
from service.events.log import EventLog, Sink

__all__ = ["Live"]

RETRY_SECONDS = 1.0
CERTAIN_SECONDS = 5.0

logger = logging.getLogger("hdrm.service")


class Live:
    """Brings what follows from the log up to date.

    While the log is out of reach, everything is as it was last known and no request waits for it: it is tried again
    beside them.

    Args:
        log: of events.
        sink: is told of them.
        timeout_seconds: longest time that a request waits for the log.

    Attributes:
        backend: of the log.
    """

    def __init__(self, log: EventLog, sink: Sink, *, timeout_seconds: float) -> None:
        self.backend = log.backend
        self._follower = log.follow(sink)
        self._timeout = timeout_seconds
        self._recovery: asyncio.Task[None] | None = None

    @property
    def degraded(self) -> bool:
        """Whether events may be missing."""
        return self._recovery is not None

    @property
    def behind(self) -> bool:
        """Whether there may be events to take in before an answer."""
        return self._recovery is None and self._follower.behind

    async def start(self, *, wholly: bool) -> None:
        """Take in the whole log, however long that takes; what cannot be read now is left for later.

        Args:
            wholly: leave nothing for later. Another state that knows all of the log is there, and better than this one.

        Raises:
            UnavailableError: it cannot be read wholly now.
        """
        try:
            await self._follower.catch_up()
        except UnavailableError as error:
            if wholly:
                raise
            self._recover(error)

    async def catch_up(self) -> None:
        """Take in what was acknowledged until now, if the log can be read in time."""
        if not self.behind:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await self._follower.catch_up()
        except (UnavailableError, TimeoutError) as error:
            self._recover(error)

    async def certainly(self) -> None:
        """Take in what was acknowledged until now, for who has just been acknowledged something.

        Raises:
            UnavailableError: the log cannot be read now.
        """
        try:
            async with asyncio.timeout(CERTAIN_SECONDS):
                await self._follower.catch_up()
        except TimeoutError as error:
            raise UnavailableError("events: what was written cannot be read again in time") from error

    async def close(self) -> None:
        """Release what it holds."""
        if self._recovery is not None:
            self._recovery.cancel()
        await self._follower.close()

    def _recover(self, error: Exception) -> None:
        if self._recovery is None:  # others may have failed in the same moment
            logger.warning("events: going on without new ones (%s)", str(error) or type(error).__name__)
            self._recovery = asyncio.create_task(self._retry())

    async def _retry(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(UnavailableError):
                await self._follower.catch_up()
                break
        self._recovery = None
        logger.info("events: the log answers again")
