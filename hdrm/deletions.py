"""Which users were deleted, by the log of the service that serves from a model store."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

__all__ = ["deleted_users"]


def deleted_users(models: Path | str) -> dict[str, float]:
    """When each deleted user was, seconds since 1970, by user id; none where nothing was ever kept.

    The log is found as the service finds it: by HDRM_REDIS_URL, HDRM_EVENTS and HDRM_EVENTS_FILE, or in the store.

    Raises:
        ConfigError: a setting of the service is not valid.
        UnavailableError: the log is there and cannot be read: then it is not known whom to leave out.
    """
    from service.events.choice import events_file, open_log
    from service.events.record import Deletion, Record
    from service.settings import load_settings

    settings = load_settings(models=models)
    if settings.events == "off" or (settings.redis_url is None and not events_file(settings).exists()):
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
