"""Which users were deleted, by the log of the service that serves from a model store."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

__all__ = ["deleted_users"]


def deleted_users(models: Path) -> dict[str, float]:
    """When each deleted user was, seconds since 1970, by user id; none where nothing was ever kept.

    Raises:
        ConfigError: a setting of the service is not valid.
        UnavailableError: the log is there and cannot be read: then it is not known whom to leave out.
    """
    try:
        from service.events.choice import FILE, open_log
        from service.events.record import Deletion, Record
        from service.settings import load_settings
    except ModuleNotFoundError:  # an environment that only trains, beside no service
        return {}
    settings = load_settings(models=models)
    file = models / FILE if settings.events_file is None else settings.events_file
    if settings.events == "off" or (settings.redis_url is None and not file.exists()):
        return {}
    deleted: dict[str, float] = {}

    def sink(records: Sequence[Record]) -> None:
        deleted.update({record.user_id: record.timestamp for record in records if isinstance(record, Deletion)})

    async def read() -> None:
        log = open_log(settings)
        follower = log.follow(sink)
        try:
            await follower.catch_up()
        finally:
            await follower.close()
            await log.close()

    asyncio.run(read())
    return deleted
