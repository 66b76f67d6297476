"""Which log the settings ask for."""

import logging
from pathlib import Path

from model.errors import UnavailableError
from service.events.log import EventLog, NoLog
from service.events.redis import RedisLog
from service.events.sqlite import SqliteLog
from service.settings import Settings

__all__ = ["events_file", "kept_log", "open_log"]

FILE = "events.sqlite"
WRITE_SECONDS, READ_SECONDS = 5.0, 5.0  # of Redis: it may have to wait for its disk, and a page is long

logger = logging.getLogger("hdrm.service")


def events_file(settings: Settings) -> Path:
    """Where events are, if they are in a file."""
    return settings.models_folder / FILE if settings.events_file is None else settings.events_file


def open_log(settings: Settings) -> EventLog:
    """The log of events. Where none was asked for by name, there is no file yet and none can be made, there is none.

    Raises:
        UnavailableError: the file that was asked for, or that is there, cannot be used: to go on without what it holds
            would bring back users that were deleted and items that were hidden.
    """
    url = settings.redis_url
    if url is not None and _in_redis(settings):
        return RedisLog(url.get_secret_value(), write_seconds=WRITE_SECONDS, read_seconds=READ_SECONDS)
    if settings.events == "off":
        return NoLog()
    file = events_file(settings)
    try:
        return SqliteLog(file)
    except UnavailableError as error:
        if settings.events is not None or settings.events_file is not None or file.is_file():
            raise
        logger.warning("no events are kept: %s; %s", error, error.hint)
        return NoLog()


def kept_log(settings: Settings) -> EventLog:
    """The log, for who only reads it: none where nothing was ever kept, and no file is made.

    Raises:
        UnavailableError: the file is there and cannot be used.
    """
    if settings.events == "off" or not (_in_redis(settings) or events_file(settings).exists()):
        return NoLog()
    return open_log(settings)


def _in_redis(settings: Settings) -> bool:
    return settings.redis_url is not None and settings.events in (None, "redis")
