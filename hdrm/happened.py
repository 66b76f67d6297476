"""What the log of events holds, of the service that serves from a model store."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.events.reading import Moment
    from service.events.record import Deletion, Record
    from training.data.datasets import Dataset
    from training.retrain.merge import Happened

__all__ = ["deleted_users", "read_happened"]


def deleted_users(models: Path | str, *, after: "Moment | None" = None) -> "dict[str, Deletion]":
    """The users who were deleted, by user id; none where nothing was ever kept.

    The log is found as the service finds it: by HDRM_REDIS_URL, HDRM_EVENTS and HDRM_EVENTS_FILE, or in the store.

    Args:
        models: the store.
        after: only those that were deleted later.

    Raises:
        ConfigError: a setting of the service is not valid.
        UnavailableError: the log is there and cannot be read: then it is not known whom to leave out.
    """
    from service.events.reading import read_log
    from service.events.record import Deletion
    from service.settings import load_settings

    deleted: dict[str, Deletion] = {}

    def sink(records: "Sequence[Record]") -> None:
        deleted.update({record.user_id: record for record in records if isinstance(record, Deletion)})

    asyncio.run(read_log(load_settings(models=models), sink, after=after))
    return deleted


def read_happened(models: Path | str, base: "Dataset | None") -> "Happened":
    """All that the log holds, in the terms of a training; raises as `deleted_users`.

    Events of types that the settings do not name are left out, as the service leaves them out.

    Args:
        models: the store.
        base: the data of before; what was changed of an item is changed of what they say.
    """
    import polars as pl

    from model.fragments import ItemFacts
    from service.events.event import Event
    from service.events.reading import read_log
    from service.events.record import Deletion, ItemChange
    from service.settings import load_settings
    from training.data.schema import ITEM_TYPES
    from training.retrain.merge import EVENT_TYPES, Happened

    settings = load_settings(models=models)
    effects: Mapping[str, str] = settings.event_types
    rows = list[tuple[str, str, str, int]]()
    changes: dict[str, dict[str, object]] = {}
    deletions: dict[str, Deletion] = {}

    def sink(records: "Sequence[Record]") -> None:
        for record in records:
            match record:
                case Event() if record.type in effects:
                    effect = effects[record.type]
                    rows.append((record.user_id, record.item_id, effect, round(record.timestamp * 1e6)))
                case ItemChange():
                    changes.setdefault(record.item_id, {}).update(record.facts)
                case Deletion():
                    deletions[record.user_id] = record

    asyncio.run(read_log(settings, sink))
    facts = {} if base is None else {row.pop("item_id"): row for row in _rows_of(base, changes)}
    nothing = asdict(ItemFacts(None, None, []))
    items = [
        {"item_id": item} | facts.get(item, nothing) | {name: changed[name] for name in nothing if name in changed}
        for item, changed in changes.items()
    ]
    return Happened(
        pl.DataFrame(rows, dict(EVENT_TYPES), orient="row"),
        pl.DataFrame(items, schema=ITEM_TYPES),
        deletions,
    )


def _rows_of(base: "Dataset", items: Iterable[str]) -> list[dict[str, Any]]:
    return base.items.filter(base.items["item_id"].is_in(list(items))).to_dicts()
