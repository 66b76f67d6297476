"""From a model to what serves it: loaded, verified, probed, brought up to date and warmed up."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from service.answers import Answers
from service.cache import Cache
from service.engine import Engine
from service.events.event import Event
from service.events.log import EventLog
from service.events.record import Record
from service.events.recorder import Recorder
from service.keeper import Keeper
from service.live.live import Live
from service.live.state import LiveState
from service.pace import measure_pace, warm_up
from service.registry import Loaded
from service.serving import Serving
from service.settings import Settings
from service.telemetry import Telemetry
from service.worker import Worker, limit_threads, switching_often

__all__ = ["Starter"]

T = TypeVar("T")


class Starter:
    """Starts to serve models. What models have in common is given; it is not closed here.

    Args:
        settings: bounds of batches and waiting, types of events.
        log: of events.
        cache: where answers are kept; its keys tell models apart.
        worker: the thread for what would hold up the event loop.
        telemetry: what happens is counted there.
    """

    def __init__(self, settings: Settings, log: EventLog, cache: Cache, worker: Worker, telemetry: Telemetry) -> None:
        self._settings = settings
        self._log = log
        self._cache = cache
        self._worker = worker
        self._telemetry = telemetry

    async def load(self, load: Callable[[], Loaded]) -> Loaded:
        """What a function loads, in a thread of its own; raises what it raises."""
        return await asyncio.to_thread(self._in_thread, load)

    async def start(self, loaded: Loaded, *, replaces: bool) -> Serving:
        """What serves a model, which was verified and probed, ready to answer; requests go on meanwhile.

        Args:
            loaded: the model.
            replaces: whether another one serves, which knows the log of events. Without all of the log this one would
                bring deleted users back, so it has to know it as well.

        Raises:
            UnavailableError: the log cannot be read, and another model serves.
        """
        settings, effects = self._settings, self._settings.event_types
        state = LiveState(loaded, effects)
        observed = _Observed(state, self._telemetry)
        live = Live(self._log, observed, timeout_seconds=settings.redis_timeout_seconds)
        try:
            await live.start(wholly=replaces)
            observed.started = True
            engine = Engine(loaded, state)
            await asyncio.to_thread(self._in_thread, lambda: warm_up(engine))
            pace = await measure_pace(engine)
        except BaseException:
            await live.close()
            raise
        recorder = Recorder(self._log, live, state, effects, self._telemetry.count_events)
        keeper = Keeper(self._log, live, state, engine.lookup)
        answers = Answers(engine, live, self._cache, self._worker, self._telemetry, pace, settings)
        return Serving(answers, recorder, keeper)

    def _in_thread(self, function: Callable[[], T]) -> T:
        limit_threads(self._settings.threads)
        with switching_often():
            return function()


class _Observed:
    """Tells the state of what happened, and the metrics how late that was, but for what was before the start."""

    def __init__(self, state: LiveState, telemetry: Telemetry) -> None:
        self.started = False
        self._state = state
        self._lag = telemetry.event_lag

    def __call__(self, records: Sequence[Record]) -> None:
        self._state.apply(records)
        if self.started:
            now = time.time()
            for record in records:
                if isinstance(record, Event):
                    self._lag.observe(max(now - record.timestamp, 0.0))
