"""The log read once, without a service."""

from dataclasses import dataclass

from model.errors import ConfigError
from service.events.choice import kept_log
from service.events.log import Backend, EventLog, Sink
from service.settings import Settings

__all__ = ["Moment", "read_log"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in a log: all that had happened then.

    Attributes:
        backend: of the log; None where nothing is kept.
        position: of the last record.
    """

    backend: Backend | None
    position: str


async def read_log(
    settings: Settings, sink: Sink, *, after: Moment | None = None, until: Moment | None = None
) -> Moment:
    """Tell a sink what is in the log that the settings name; until when that is.

    Args:
        settings: as of the service.
        sink: is told.
        after: what had happened then is left out.
        until: what happened later is left out; None takes all there is.

    Raises:
        ConfigError: a moment is one of another kind of log.
        UnavailableError: the log cannot be read.
    """
    log = kept_log(settings)
    try:
        if until is not None and until.backend is None:  # nothing was kept yet
            return until
        begin, end = (_position(moment, log) for moment in (after, until))
        follower = log.follow(sink, after=begin, until=end)
        try:
            await follower.catch_up()
            return Moment(log.backend, follower.position)
        finally:
            await follower.close()
    finally:
        await log.close()


def _position(moment: Moment | None, log: EventLog) -> str | None:
    if moment is None or moment.backend is None:
        return None
    if moment.backend != log.backend:
        raise ConfigError(
            f"events were in {moment.backend}, and are now in {log.backend or 'no log'}",
            hint="set HDRM_EVENTS, HDRM_EVENTS_FILE and HDRM_REDIS_URL as they were",
        )
    return moment.position
