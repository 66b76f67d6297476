"""The store's current model, followed: what is published, activated or rolled back is served within seconds."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from model.errors import HdrmError
from model.store import Canary as Wanted
from model.store import ModelStore
from service.registry import Loaded, load_version
from service.roster import Canary, Roster
from service.serving import Serving
from service.settings import Settings
from service.starter import Starter
from service.telemetry import Telemetry

__all__ = ["Watcher"]

POLL_SECONDS = 0.5
RETRY_SECONDS = 10.0  # until a model that was refused is tried again: it may have been copied there at the time

logger = logging.getLogger("hdrm.service")


class Watcher:
    """Lets a roster follow a store. A model that cannot be served is refused, and the one before it serves on.

    Args:
        store: where models are.
        roster: of those that serve.
        starter: makes what serves a model.
        settings: as of `load_version`.
        telemetry: swaps and refusals are counted there.
        refused: a version that was refused already, when the service started.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: ModelStore,
        roster: Roster,
        starter: Starter,
        settings: Settings,
        telemetry: Telemetry,
        *,
        refused: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._roster = roster
        self._starter = starter
        self._settings = settings
        self._telemetry = telemetry
        self._clock = clock
        self._refused: dict[str, float] = {} if refused is None else {refused: clock()}
        self._said: str | None = None

    async def run(self) -> None:
        """Follow, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.look()
            except Exception:  # whatever it is, what serves goes on
                logger.exception("models: the store cannot be followed")

    async def look(self) -> None:
        """Bring the roster to what the store wants now."""
        try:
            current = await asyncio.to_thread(self._store.current)
        except HdrmError as error:
            self._say("models: serving on, the store cannot be read (%s)", error)
            return
        try:
            canary = await asyncio.to_thread(self._store.canary)
            self._said = None
        except HdrmError as error:  # which keeps nobody from going back to another model
            self._say("models: no canary, as it cannot be read (%s)", error)
            canary = None
        if current is not None and current != self._roster.current.version:
            await self._swap(current)
        self._telemetry.refuse_model(refused=current is not None and current != self._roster.current.version)
        await self._try_out(canary)

    def _say(self, what: str, error: HdrmError) -> None:
        if self._said != error.message:  # once, not at every look
            logger.error(what, error.message)
        self._said = error.message

    async def _swap(self, version: str) -> None:
        canary = self._roster.canary
        promoted = canary is not None and canary.serving.version == version
        serving = canary.serving if canary is not None and promoted else await self._started(version)
        if serving is None:
            return
        if not promoted and not await self._still(self._store.current, version):
            await serving.close()
            return
        before = self._roster.current.version
        self._roster.replace(serving)
        manifest = serving.manifest
        self._telemetry.serve_model(version, manifest.retrieval, manifest.run.created_at, before=before)
        self._telemetry.count_swap("swapped")
        logger.warning("models: serving %s, before it %s", version, before)

    async def _try_out(self, wanted: Wanted | None) -> None:
        running = self._roster.canary
        if wanted is None or wanted.version == self._roster.current.version:
            if running is not None:
                self._roster.try_out(None)
                logger.warning("models: no canary any more")
        elif running is not None and running.serving.version == wanted.version:
            if running.share != wanted.share:
                self._roster.try_out(Canary(running.serving, wanted.share))
                logger.warning("models: canary %s for %g of the users", wanted.version, wanted.share)
        elif (serving := await self._started(wanted.version)) is not None:
            if not await self._still(self._store.canary, wanted):
                await serving.close()
                return
            self._roster.try_out(Canary(serving, wanted.share))
            logger.warning("models: canary %s for %g of the users", wanted.version, wanted.share)

    async def _still(self, ask: Callable[[], object], wanted: object) -> bool:
        """Whether the store wants what it did before the model was loaded, which takes a while."""
        try:
            return await asyncio.to_thread(ask) == wanted
        except HdrmError:  # the next look tells
            return False

    async def _started(self, version: str) -> Serving | None:
        """What serves a version; None if it was refused, now or a while ago."""
        if self._clock() < self._refused.get(version, -RETRY_SECONDS) + RETRY_SECONDS:
            return None
        load: Callable[[], Loaded] = partial(load_version, self._store, self._settings, version)
        try:
            serving = await self._starter.start(await self._starter.load(load), replaces=True)
        except Exception as error:  # whatever it is, what serves goes on
            self._refused[version] = self._clock()
            self._telemetry.count_swap("refused")
            why = error.message if isinstance(error, HdrmError) else f"{type(error).__name__}: {error}"
            logger.error("models: %s is REFUSED, %s serves on (%s)", version, self._roster.current.version, why)
            return None
        self._refused.pop(version, None)
        return serving
